"""`LLM`: a checkpoint on a wafer, from prompts to text, and what PLMR says of it."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import cached_property
from importlib.resources import files
from numbers import Integral
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from waferllm.chip import WSE2, Chip
from waferllm.engine.core import Engine, Event, Prompt
from waferllm.engine.params import SamplingParams
from waferllm.engine.sequence import Output
from waferllm.errors import CapacityError, InputError
from waferllm.kernels.gemv import AllReduce
from waferllm.layout import COLS, ROWS, Mesh
from waferllm.models.chat import Message
from waferllm.models.checkpoint import Checkpoint, open_checkpoint
from waferllm.models.generation import GenerationDefaults, load_generation_defaults
from waferllm.models.programs import ModelPrograms
from waferllm.models.runner import PlacedModel, WaferRunner, place_model, sequence_capacity
from waferllm.models.tokenizer import Tokenizer, load_tokenizer
from waferllm.units import show_bytes

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}
DEFAULT_LEN = 2048


def shipped_checkpoint() -> Path:
    """The checkpoint inside this package: trained by us on public-domain tales."""
    return Path(str(files("waferllm") / "checkpoints" / "fables"))


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How a model is run. Meshes are rows x columns of simulated cores, or of devices.

    `max_len` bounds prompt plus output of a sequence (default: the model's positions, at most 2048);
    `max_num_seqs` the sequences that decode together; `chunk` the prompt tokens per prefill step
    (default: about 64, a multiple of the prefill mesh's rows). `dtype` "auto" is the checkpoint's.
    """

    mesh: Mesh = Mesh(8, 8)
    prefill_mesh: Mesh | None = None
    kv: str = "shift"
    dtype: str = "float32"
    gemm: str = "meshgemm"
    combine: AllReduce = AllReduce()
    max_len: int | None = None
    max_num_seqs: int = 8
    chunk: int | None = None
    devices: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in (*DTYPES, "auto"):
            raise InputError(f"dtype '{self.dtype}': use one of {', '.join(DTYPES)}, or auto.")
        for name, value in (("max_num_seqs", self.max_num_seqs), ("max_len", self.max_len)):
            if value is not None and value < 1:
                raise InputError(f"{name} {value}: it must be at least 1.")
        if self.chunk is not None and self.chunk < 1:
            raise InputError(f"chunk {self.chunk}: a prefill step takes at least 1 token.")


class LLM:
    """A Hugging Face checkpoint on a simulated wafer (or on JAX devices).

    `LLM(path).generate(["Once upon a time"], SamplingParams(max_tokens=64))[0].text`. Without a path it
    is the shipped checkpoint. Options are those of `EngineConfig`; a mesh may be given as "8x8" or
    (8, 8). Weights are read and placed when first needed.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        chip: Chip = WSE2,
        progress: Callable[[int, int], object] = lambda done, total: None,
        **options: Any,
    ) -> None:
        path = shipped_checkpoint() if model is None else Path(model)
        self.chip, self._progress = chip, progress
        self.settings = _settings(options)
        self.checkpoint: Checkpoint = open_checkpoint(path)
        self.tokenizer: Tokenizer = load_tokenizer(path)
        self.defaults: GenerationDefaults = load_generation_defaults(path)
        self._check_chip()
        self._engine: Engine | None = None

    def generate(
        self,
        prompts: str | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        on_event: Callable[[Event], object] | None = None,
    ) -> list[Output]:
        """Outputs for prompts (texts or lists of ids), in order; see `Engine.generate`.

        Without `params`, the checkpoint's own sampling defaults: `sampling_params()`.
        """
        batch = [prompts] if isinstance(prompts, str) else prompts
        ids = [self._ids(prompt) for prompt in batch]
        params = self.sampling_params() if params is None else params
        return self.engine(len(ids)).generate(ids, params, on_event=on_event)

    def chat(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        *,
        on_event: Callable[[Event], object] | None = None,
    ) -> Output:
        """The answer to a conversation, by the checkpoint's own chat template."""
        return self.generate([self.tokenizer.apply_chat(messages)], params, on_event=on_event)[0]

    def sampling_params(self, **asked: Any) -> SamplingParams:
        """The checkpoint's own sampling defaults (greedy where it names none), changed as asked."""
        d = self.defaults
        own: dict[str, Any] = (
            {"temperature": d.temperature or 1.0} if d.do_sample else {"temperature": 0.0}
        )
        if d.do_sample:
            found = {"top_k": d.top_k, "top_p": d.top_p, "min_p": d.min_p}
            own |= {k: v for k, v in found.items() if v is not None}
        if d.repetition_penalty is not None:
            own["repetition_penalty"] = d.repetition_penalty
        return SamplingParams(**(own | asked))

    def _ids(self, prompt: Prompt) -> Prompt:
        """A text as token ids; ids as they are. Raises InputError for ids that the model lacks."""
        ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        if not isinstance(ids, Iterable):
            return ids  # which the engine refuses
        vocab = self.checkpoint.config.vocab
        strange = next((i for i in ids if isinstance(i, Integral) and not 0 <= i < vocab), None)
        if strange is not None:
            raise InputError(
                f"token id {strange} in a prompt: this model has {vocab} tokens, 0 to {vocab - 1}. "
                "Do the tokenizer and the weights belong together?"
            )
        return ids

    def capacity(self, prompt: int) -> int:
        """Tokens of prompt and output together that a sequence with such a prompt can hold."""
        programs = self.programs(1)[0]
        return sequence_capacity(programs, prompt)

    def on_progress(self, progress: Callable[[int, int], object]) -> None:
        """Who to tell, as (done, total), when layers are placed."""
        self._progress = progress

    @property
    def dtype(self) -> str:
        """What weights and activations are stored in."""
        return self.checkpoint.dtype if self.settings.dtype == "auto" else self.settings.dtype

    def engine(self, sequences: int = 1) -> Engine:
        """The engine, with slots for that many sequences at once, up to `max_num_seqs`."""
        slots = min(max(1, sequences), self.settings.max_num_seqs)
        if self._engine is None or self._engine.runner.slots < slots:
            decode, prefill = self.programs(slots)
            devices = self._devices
            self._check_memory(decode, prefill)
            self._engine = Engine(
                WaferRunner(self.placed, decode, prefill, devices), self.tokenizer
            )
        return self._engine

    @cached_property
    def placed(self) -> PlacedModel:
        return place_model(self.checkpoint, self.programs(1)[0], self._progress)

    def programs(self, slots: int = 1) -> tuple[ModelPrograms, ModelPrograms]:
        """The model's programs on the execution meshes, for decode and for prefill."""
        settings, config = self.settings, self.checkpoint.config
        mesh, prefill_mesh = settings.mesh, settings.prefill_mesh or settings.mesh
        longest = settings.max_len or min(config.max_positions, DEFAULT_LEN)
        if longest > config.max_positions:
            raise InputError(
                f"max_len {longest}: {config.name} was made for {config.max_positions} positions. "
                f"Use at most {config.max_positions}."
            )
        chunk = settings.chunk or min(64, longest)
        decode = ModelPrograms(
            config,
            mesh,
            slots=slots,
            chunk=mesh.rows,
            capacity=longest,
            kv=settings.kv,
            gemm=settings.gemm,
            combine=settings.combine,
            dtype=DTYPES[self.dtype],
        )
        share = -(-chunk // prefill_mesh.rows)
        return decode, replace(decode, mesh=prefill_mesh, chunk=share * prefill_mesh.rows)

    @cached_property
    def _devices(self) -> tuple[jax.sharding.Mesh | None, jax.sharding.Mesh | None]:
        if not self.settings.devices:
            return None, None
        meshes = self.settings.mesh, self.settings.prefill_mesh or self.settings.mesh
        return _device_mesh(meshes[0]), _device_mesh(meshes[1])

    def _check_chip(self) -> None:
        for mesh in (self.settings.mesh, self.settings.prefill_mesh or self.settings.mesh):
            rows, cols = self.chip.grid_rows, self.chip.grid_cols
            if mesh.rows > rows or mesh.cols > cols:
                raise CapacityError(
                    f"mesh {mesh}: {self.chip.title} has {rows} rows x {cols} columns of cores to "
                    "use. Choose a smaller mesh, or another chip."
                )

    def _check_memory(self, decode: ModelPrograms, prefill: ModelPrograms) -> None:
        """Refuse before reading weights what this machine cannot simulate."""
        at, config = decode.placement, self.checkpoint.config
        layer = sum(
            math.prod(s.shape) * np.dtype(s.dtype).itemsize
            for s in decode.weights("decode").values()
        )
        size = np.dtype(decode.dtype).itemsize
        ends = at.hidden.size * at.vocab.size * size * (1 if config.tied else 2)
        cache = (
            2
            * config.layers
            * size
            * (
                decode.slots * decode.kv_width * decode.mesh.rows * decode.row_slots
                + prefill.kv_width * prefill.mesh.rows * prefill.buffer_slots
            )
        )
        need = config.layers * layer + ends + cache
        have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if need > have:
            raise CapacityError(
                f"{config.name} on a {decode.mesh} mesh, padded to tile it, takes {show_bytes(need)}; "
                f"this machine has {show_bytes(have)}. Use a smaller mesh, max_len or model."
            )


def _settings(options: dict[str, Any]) -> EngineConfig:
    """Options as a config. Raises InputError, with the nearest name, for one that there is not."""
    known = [field.name for field in fields(EngineConfig)]
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, n=1) or known
            raise InputError(f"LLM has no option '{name}'. Did you mean {', '.join(near)}?")
    return EngineConfig(**{name: _mesh(name, value) for name, value in options.items()})


def _mesh(name: str, value: Any) -> Any:
    """A mesh from "8x8" or (8, 8); other values as they are."""
    if not name.endswith("mesh") or value is None or isinstance(value, Mesh):
        return value
    if isinstance(value, str):
        return Mesh.parse(value)
    if isinstance(value, tuple) and len(value) == 2 and all(type(n) is int for n in value):
        return Mesh(*value)
    raise InputError(f'{name} {value!r}: use "8x8" or (8, 8), rows by columns.')


def _device_mesh(mesh: Mesh) -> jax.sharding.Mesh:
    devices = jax.devices()
    if len(devices) < mesh.cores:
        raise CapacityError(
            f"a {mesh} mesh needs {mesh.cores} devices, JAX sees {len(devices)}. Choose a smaller mesh, "
            "or leave out devices to simulate the cores."
        )
    return jax.sharding.Mesh(
        np.array(devices[: mesh.cores]).reshape(mesh.rows, mesh.cols), (ROWS, COLS)
    )
