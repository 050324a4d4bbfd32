"""What is asked of a machine: lengths of prompts and answers, reuse, encoders, retrieval, denoising.

The lengths are our choices for each kind of use (assumed), meant to be changed; the service limits
(`max_ttft_s`, `max_tpot_s`) say how slow an answer may be and still count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf, isfinite
from typing import Any

from waferllm.chip.facts import nearest
from waferllm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One kind of request, tokens per request unless the name says otherwise.

    `cached_tokens` stand before the prompt and have their KV already (earlier turns, a shared text);
    with `frozen_cache` they change so rarely that flash may hold them, with `shared_cache` all requests
    of a replica have the same ones, kept once and read once a step. `denoise_steps` > 0 makes a
    diffusion model: every step passes prompt and answer whole, without a cache. `store_gb` is the
    context that retrieval searches, of which each request reads `retrieved_mb`. `waiting_sessions` keep
    their KV for each request in flight while a tool or a person answers. No more than `max_requests`
    are there at once, in the whole system.
    """

    name: str
    says: str
    prompt_tokens: float
    output_tokens: float
    cached_tokens: float = 0.0
    frozen_cache: bool = False
    shared_cache: bool = False
    waiting_sessions: float = 0.0
    encoder_params: float = 0.0
    encoder_tokens: float = 0.0
    denoise_steps: float = 0.0
    store_gb: float = 0.0
    retrieved_mb: float = 0.0
    store_turnover_days: float = 30.0
    weight_updates_per_year: float = 12.0
    max_ttft_s: float = inf
    max_tpot_s: float = inf
    max_requests: float = inf
    dtype: str = ""
    kv_dtype: str = ""

    def __post_init__(self) -> None:
        for key in ("prompt_tokens", "output_tokens", "max_ttft_s", "max_tpot_s", "max_requests"):
            if not getattr(self, key) > 0:
                raise InputError(f"workload {key} = {getattr(self, key)}: expected more than zero.")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not value >= 0:
                raise InputError(f"workload {field.name} = {value}: expected zero or more.")
        if not isfinite(self.prompt_tokens + self.output_tokens + self.cached_tokens):
            raise InputError("a workload's token counts must be finite.")

    def with_(self, **changes: Any) -> "Workload":
        """This workload with some values changed. Raises InputError for an unknown key."""
        known = [field.name for field in fields(self)]
        for key in changes:
            if key not in known:
                raise InputError(f"Unknown workload key {key}. {nearest(key, known)}")
        return replace(self, **changes)


_ALL = (
    Workload(name="chat", says="a question and an answer", prompt_tokens=1024, output_tokens=512,
             max_ttft_s=2.0, max_tpot_s=0.05),
    Workload(name="reasoning", says="a short question, long thinking", prompt_tokens=1024,
             output_tokens=8192, max_ttft_s=2.0, max_tpot_s=0.05),
    Workload(name="long-context", says="a book and a short answer", prompt_tokens=131072,
             output_tokens=512, max_ttft_s=60.0, max_tpot_s=0.1),
    Workload(name="rag", says="retrieved passages, whose KV is kept, before a question",
             prompt_tokens=512, output_tokens=512, cached_tokens=16384, frozen_cache=True,
             store_gb=500.0, retrieved_mb=4.0, max_ttft_s=2.0, max_tpot_s=0.05),
    Workload(name="multimodal", says="two images of 1,024 tokens through a 0.6 B encoder",
             prompt_tokens=2304, output_tokens=512, encoder_params=0.6e9, encoder_tokens=2048,
             max_ttft_s=2.0, max_tpot_s=0.05),
    Workload(name="diffusion", says="a diffusion language model: 64 full passes for 512 tokens",
             prompt_tokens=1024, output_tokens=512, denoise_steps=64, max_ttft_s=30.0),
    Workload(name="agents",
             says="a turn of many: 16k tokens of history kept, 1k new, 512 out; as many wait",
             prompt_tokens=1024, output_tokens=512, cached_tokens=16384, waiting_sessions=1.0,
             max_ttft_s=2.0, max_tpot_s=0.05),
    Workload(name="mobile-chat", says="one user on a phone, 4-bit weights", prompt_tokens=512,
             output_tokens=256, dtype="int4", max_ttft_s=10.0, max_tpot_s=0.2, max_requests=1),
    Workload(name="mobile-rag", says="one user on a phone asks about their own files",
             prompt_tokens=256, output_tokens=256, cached_tokens=4096, frozen_cache=True,
             store_gb=8.0, retrieved_mb=2.0, dtype="int4", max_ttft_s=10.0, max_tpot_s=0.2,
             max_requests=1),
)  # fmt: skip
WORKLOADS: Mapping[str, Workload] = {workload.name: workload for workload in _ALL}


def find_workload(workload: str | Workload) -> Workload:
    """A workload by name. Raises InputError with the nearest name for an unknown one."""
    if isinstance(workload, Workload):
        return workload
    if workload not in WORKLOADS:
        raise InputError(f"Unknown workload {workload!r}. {nearest(workload, WORKLOADS)}")
    return WORKLOADS[workload]
