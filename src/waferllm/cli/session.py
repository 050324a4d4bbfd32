"""One run of `generate`: open the model, stream the text, close with the report."""

import json as jsonlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from waferllm.chip import Chip, load_chip
from waferllm.chip import chip as named_chip
from waferllm.cli.generate import DEFAULT_TOKENS
from waferllm.engine.core import Event, Interrupted
from waferllm.engine.llm import LLM
from waferllm.engine.params import SamplingParams
from waferllm.engine.sequence import Output
from waferllm.layout import Mesh
from waferllm.reports.generated import execution_json, plmr_json, report_table
from waferllm.reports.placed import Plan
from waferllm.reports.plan import plan


@dataclass
class Session:
    """A model that is open, and how to show what it does."""

    llm: LLM
    grid: Mesh
    chat: bool
    show: bool

    @classmethod
    def open(
        cls, *, model: Path | None, chip: str, grid: str | None, chat: bool, show: bool, options: dict
    ) -> "Session":
        found = load_chip(chip) if chip.endswith(".toml") else named_chip(chip)
        llm = LLM(model, chip=found, **options)
        placed = _default_grid(llm, found) if grid is None else Mesh.parse(grid)
        return cls(llm, placed, chat, show)

    def run(
        self,
        texts: Sequence[str],
        *,
        sampling: dict[str, Any],
        ending: dict[str, Any],
        stream: bool,
        report: bool,
        as_json: bool,
    ) -> None:
        """Generate, print, report; exits with 130 if interrupted, after what there is."""
        prompts = [self._encode(text) for text in texts]
        params = [self._params(len(ids), sampling, ending) for ids in prompts]
        self._warm(len(prompts))
        printer = _Printer(texts, stream=stream and len(prompts) == 1 and not self.chat)
        began = time.perf_counter()
        try:
            outputs, interrupted = self.llm.generate(prompts, params, on_event=printer.event), False
        except Interrupted as stopped:
            outputs, interrupted = stopped.outputs, True
        wall_s = time.perf_counter() - began
        if as_json:
            typer.echo(jsonlib.dumps(self._json(outputs, wall_s), ensure_ascii=False, allow_nan=False))
        else:
            printer.close(outputs)
            if report:
                console = Console(highlight=False)
                console.print(report_table(self.llm, outputs, wall_s, self._plan(outputs)))
        if interrupted:
            raise KeyboardInterrupt

    def _encode(self, text: str) -> list[int]:
        tokenizer = self.llm.tokenizer
        if self.chat:
            return tokenizer.apply_chat([{"role": "user", "content": text}])
        return tokenizer.encode(text)

    def _params(self, prompt: int, sampling: dict[str, Any], ending: dict[str, Any]) -> SamplingParams:
        """What was asked, else the checkpoint's defaults; by default as many tokens as fit."""
        params = self.llm.sampling_params(**sampling, **{k: v for k, v in ending.items() if v is not None})
        if ending["max_tokens"] is not None:
            return params
        room = self.llm.capacity(prompt) - prompt
        return replace(params, max_tokens=min(DEFAULT_TOKENS, room)) if room > 0 else params

    def _warm(self, sequences: int) -> None:
        """Read weights with a progress bar on standard error, where a person looks."""
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns, console=console, transient=True, disable=not (self.show and console.is_terminal)
        ) as bar:
            task = bar.add_task("placing layers on the mesh", total=self.llm.checkpoint.config.layers)
            self.llm.on_progress(lambda done, total: bar.update(task, completed=done, total=total))
            self.llm.engine(sequences)

    def _plan(self, outputs: Sequence[Output]) -> Plan:
        longest = max(outputs, key=lambda o: len(o.prompt_token_ids) + len(o.token_ids))
        settings = self.llm.settings
        return plan(
            self.llm.checkpoint.config,
            self.llm.chip,
            self.grid,
            self.grid,
            len(longest.prompt_token_ids),
            max(1, len(longest.token_ids)),
            kv=settings.kv,
            dtype=self.llm.dtype,
            batch=min(len(outputs), settings.max_num_seqs),
        )

    def _json(self, outputs: Sequence[Output], wall_s: float) -> dict[str, Any]:
        texts = [
            {
                "text": o.text,
                "prompt_tokens": list(o.prompt_token_ids),
                "output_tokens": list(o.token_ids),
                "finish_reason": o.finish_reason,
            }
            for o in outputs
        ]
        body = texts[0] if len(texts) == 1 else {"outputs": texts}
        settings = self.llm.settings
        return {
            **body,
            "mesh": str(settings.mesh),
            "prefill_mesh": str(settings.prefill_mesh or settings.mesh),
            "execution": execution_json(outputs, wall_s),
            "plmr": plmr_json(self._plan(outputs)),
        }


class _Printer:
    """Shows text as it comes: one prompt streams, several are printed as each ends."""

    def __init__(self, texts: Sequence[str], *, stream: bool) -> None:
        self._texts, self._stream = texts, stream
        if stream:
            self._write(texts[0])

    def event(self, event: Event) -> None:
        if self._stream:
            self._write(event.text)

    def close(self, outputs: Sequence[Output]) -> None:
        if self._stream:
            self._write("\n")
            return
        for i, output in enumerate(outputs):
            head = f"[{i + 1}] " if len(outputs) > 1 else ""
            self._write(f"{head}{self._texts[i] if len(outputs) > 1 else ''}{output.text}\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _default_grid(llm: LLM, chip: Chip) -> Mesh:
    """The largest square on the chip whose every core has a row of the model and a pair of its keys."""
    config = llm.checkpoint.config
    pairs = config.kv_heads * config.head_dim // 2
    side = min(chip.grid_rows, chip.grid_cols, config.hidden, pairs)
    return Mesh(side, side)
