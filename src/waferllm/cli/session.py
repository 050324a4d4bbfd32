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
from waferllm.cli.interrupt import INTERRUPTED, Patience
from waferllm.engine.core import Event, Interrupted
from waferllm.engine.llm import LLM
from waferllm.engine.params import SamplingParams
from waferllm.engine.scheduler import SlotBudget
from waferllm.engine.sequence import Output
from waferllm.errors import CapacityError, InputError
from waferllm.layout import Mesh
from waferllm.plmr.compliance import check_grid
from waferllm.reports.generated import execution_json, plmr_json, report
from waferllm.reports.placed import Plan
from waferllm.reports.plan import plan


@dataclass
class Session:
    """A model that is open, and how to show what it does."""

    llm: LLM
    grid: Mesh
    chat: bool
    quiet: bool
    as_json: bool

    @classmethod
    def open(
        cls,
        *,
        model: Path | None,
        chip: str,
        grid: str | None,
        chat: bool,
        quiet: bool,
        as_json: bool,
        options: dict[str, Any],
    ) -> "Session":
        found = load_chip(chip) if chip.endswith(".toml") else named_chip(chip)
        llm = LLM(model, chip=found, **options)
        placed = _default_grid(llm, found) if grid is None else Mesh.parse(grid)
        _check_report(llm, placed, found)
        return cls(llm, placed, chat, quiet, as_json)

    def run(
        self, texts: Sequence[str], *, sampling: dict[str, Any], ending: dict[str, Any]
    ) -> None:
        """Generate, print, report. Raises Exit with 130 if interrupted, after what there is."""
        prompts = [self._encode(text) for text in texts]
        params = [self._params(len(ids), sampling, ending) for ids in prompts]
        self._warm(len(prompts))
        printer = _Printer([""] * len(texts) if self.chat else texts, stream=not self.as_json)

        def show(event: Event) -> None:
            printer.event(event)
            patience.token()

        began = time.perf_counter()
        with Patience() as patience:
            try:
                outputs = self.llm.generate(prompts, params, on_event=show)
            except Interrupted as stopped:
                outputs = stopped.outputs
            wall_s = time.perf_counter() - began
            if self.as_json:
                self._print_json(outputs, wall_s)
            else:
                printer.close(outputs)
        if not (self.as_json or self.quiet):
            shown = report(self.llm, outputs, wall_s, self._plan(outputs))
            Console(highlight=False).print(shown)
        if patience.heard:
            raise typer.Exit(INTERRUPTED)

    def _encode(self, text: str) -> list[int]:
        tokenizer = self.llm.tokenizer
        if self.chat:
            return tokenizer.apply_chat([{"role": "user", "content": text}])
        return tokenizer.encode(text)

    def _params(
        self, prompt: int, sampling: dict[str, Any], ending: dict[str, Any]
    ) -> SamplingParams:
        """What was asked, else the checkpoint's defaults, of whose `max_new_tokens` as many as fit.

        Raises CapacityError, before any weight is read, for what does not fit.
        """
        params = self.llm.sampling_params(**sampling, **ending)
        budget = SlotBudget(self.llm.capacity)
        refusal = budget.fits(prompt, params.max_tokens or 1)
        if refusal is not None:
            raise CapacityError(refusal)
        usual = min(self.llm.defaults.max_new_tokens or DEFAULT_TOKENS, budget.max_new(prompt))
        return replace(params, max_tokens=params.max_tokens or usual)

    def _warm(self, sequences: int) -> None:
        """Read weights with a progress bar on standard error, where a person looks."""
        console = Console(stderr=True)
        show = console.is_terminal and not (self.quiet or self.as_json)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=console, transient=True, disable=not show) as bar:
            layers = self.llm.checkpoint.config.layers
            task = bar.add_task("placing layers on the mesh", total=layers)
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

    def _print_json(self, outputs: Sequence[Output], wall_s: float) -> None:
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
        whole = {
            **body,
            "mesh": str(self.llm.settings.mesh),
            "execution": execution_json(outputs, wall_s),
            "plmr": plmr_json(self._plan(outputs)),
        }
        typer.echo(jsonlib.dumps(whole, ensure_ascii=False, allow_nan=False))


class _Printer:
    """Text after its prompt: one streams as it comes, several are printed when all have ended."""

    def __init__(self, prompts: Sequence[str], *, stream: bool) -> None:
        self._prompts, self._stream = prompts, stream and len(prompts) == 1
        self._shown = 0
        if self._stream:
            self._write(prompts[0])

    def event(self, event: Event) -> None:
        if self._stream:
            self._write(event.text)
            self._shown += len(event.text)

    def close(self, outputs: Sequence[Output]) -> None:
        """The rest: of a broken-off stream what was held back, of several prompts everything."""
        if self._stream:
            self._write(f"{outputs[0].text[self._shown :]}\n")
            return
        for i, output in enumerate(outputs):
            head = f"[{i + 1}] " if len(outputs) > 1 else ""
            self._write(f"{head}{self._prompts[i]}{output.text}\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _check_report(llm: LLM, grid: Mesh, chip: Chip) -> None:
    """Refuse before anything runs what the report could not be made for."""
    check_grid(grid, chip)
    rates = chip.macs_per_cycle.known
    if llm.dtype not in rates:
        raise InputError(
            f"dtype {llm.dtype}: the cores of {chip.name} compute in {' or '.join(rates)}. "
            "Choose one of these, or another chip."
        )


def _default_grid(llm: LLM, chip: Chip) -> Mesh:
    """The largest square on the chip whose every core has a row of the model and a pair of its keys."""
    config = llm.checkpoint.config
    pairs = config.kv_heads * config.head_dim // 2
    side = min(chip.grid_rows, chip.grid_cols, config.hidden, pairs)
    return Mesh(side, side)
