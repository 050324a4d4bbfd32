"""Train the model on `prepare.py`'s tokens, on a CPU, in about an hour.

    python train.py data/ --out run/ --minutes 80

Muon for the matrices, AdamW for embeddings and norms; the learning rate warms up, stays, then
falls linearly to zero over the last third; what is exported is a moving average of the weights.
The schedule follows the clock, not a step count, so that the run ends when it was told to. It
saves its whole state every few minutes: start the same command again and it goes on.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from model import Llama, Shape
from torch import Tensor

BOS_ID = 0
REPORT_STEPS = 250
SAVE_SECONDS = 120


@dataclass(frozen=True)
class Recipe:
    """What a run does. `batch_tokens` per step at the end; rates are those of the plateau."""

    minutes: float
    batch_tokens: int = 4096
    short_length: int = 256
    length: int = 512
    short_share: float = 0.6  # of the run, at the short length
    core_from: float = 0.4  # from there on the core books, the simplest, are read more often:
    core_share: float = 0.4  # this share of the batches is theirs alone
    story_start_share: float = 0.2  # of the rows: they begin at a BOS, as every prompt does
    muon_rate: float = 0.02
    adam_rate: float = 0.003
    weight_decay: float = 0.1
    warmup_steps: int = 60
    decay_share: float = 0.4
    average_decay: float = 0.996
    seed: int = 0


def rate_at(step: int, progress: float, recipe: Recipe) -> float:
    """Multiplier of the learning rates: warm-up by steps, decay by `progress` in [0, 1]."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    return warm * min(1.0, max(0.0, 1.0 - progress) / recipe.decay_share)


def batch_tokens_at(progress: float, recipe: Recipe) -> int:
    """Small batches first: while the loss is high, many cheap steps beat few good ones."""
    share = 4 if progress < 0.04 else 2 if progress < 0.25 else 1
    return recipe.batch_tokens // share


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrix, roughly: five Newton-Schulz steps (Muon)."""
    x = matrix / (matrix.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal: every direction of a matrix learns alike.

    Keller Jordan, https://kellerjordan.github.io/posts/muon/ (2024).
    """

    def __init__(self, params: list[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": 0.95, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(weight.grad.lerp(momentum, group["momentum"]))
                scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * scale)


def make_optimizers(model: Llama, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        Muon(matrices, recipe.muon_rate, recipe.weight_decay),
        torch.optim.AdamW(others, recipe.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


@dataclass(frozen=True)
class Stream:
    """Documents end to end, and where the stories in it start."""

    tokens: np.ndarray
    starts: np.ndarray

    @classmethod
    def load(cls, path: Path, longest_window: int) -> "Stream":
        tokens = np.load(path)
        return cls(tokens, np.flatnonzero(tokens[: -longest_window - 1] == BOS_ID))


def sample_batch(
    stream: Stream, progress: float, recipe: Recipe, rng: np.random.Generator
) -> Tensor:
    """Windows [b, length + 1] of the token stream, some of them from the start of a story."""
    length = recipe.short_length if progress < recipe.short_share else recipe.length
    rows = batch_tokens_at(progress, recipe) // length
    offsets = rng.integers(0, len(stream.tokens) - length - 1, rows)
    at_start = rng.random(rows) < recipe.story_start_share
    offsets = np.where(at_start, rng.choice(stream.starts, rows), offsets)
    return torch.from_numpy(
        stream.tokens[offsets[:, None] + np.arange(length + 1)].astype(np.int64)
    )


def loss_of(model: torch.nn.Module, batch: Tensor) -> Tensor:
    logits = model(batch[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def validation_loss(model: torch.nn.Module, tokens: np.ndarray, length: int) -> float:
    """Nats per token over the whole stream, cut into windows of `length`."""
    rows = (len(tokens) - 1) // length
    index = np.arange(rows)[:, None] * length + np.arange(length + 1)
    windows = torch.from_numpy(tokens[index].astype(np.int64))
    return sum(loss_of(model, part).item() * len(part) for part in windows.split(16)) / rows


class Threads:
    """One thread or all of them, whichever is faster just now.

    On a machine shared with others two threads can be slower than one: each waits for the other,
    and the scheduler makes one of them wait for a stranger. Hence a trial of both every 40 steps.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.seconds: dict[int, float] = {}  # per token, by thread count

    def choose(self, step: int) -> int:
        trial = step % 40
        if trial < 4 and self.most > 1:
            count = self.most if trial < 2 else 1
        else:
            count = min(self.seconds, key=self.seconds.__getitem__, default=1)
        torch.set_num_threads(count)
        return count


class Average:
    """Exponential moving average of the weights; early on it forgets faster."""

    def __init__(self, model: Llama, decay: float) -> None:
        self.decay = decay
        self.weights = {n: p.detach().clone() for n, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: Llama, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10))
        for name, weight in model.named_parameters():
            self.weights[name].lerp_(weight, 1 - decay)


class Run:
    """Everything that changes while training, hence everything that is saved."""

    def __init__(self, shape: Shape, recipe: Recipe, compiled: bool) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.loss_of = torch.compile(loss_of, dynamic=False) if compiled else loss_of
        self.rng = np.random.default_rng(recipe.seed)
        self.model = Llama(shape)
        self.optimizers = make_optimizers(self.model, recipe)
        self.average = Average(self.model, recipe.average_decay)
        self.step, self.seconds, self.seen_tokens = 0, 0.0, 0

    @property
    def progress(self) -> float:
        return self.seconds / 60 / self.recipe.minutes

    def save(self, path: Path) -> None:
        """Writes beside the file, then renames: an interruption leaves the old one."""
        state = {
            "shape": asdict(self.model.shape),
            "recipe": asdict(self.recipe),
            "model": self.model.state_dict(),
            "average": self.average.weights,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "rng": self.rng.bit_generator.state,
            "counters": (self.step, self.seconds, self.seen_tokens),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.average.weights = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.rng.bit_generator.state = state["rng"]
        self.step, self.seconds, self.seen_tokens = state["counters"]

    def advance(self, batch: Tensor) -> float:
        """One optimizer step; returns its loss in nats per token."""
        loss = self.loss_of(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        share = rate_at(self.step, self.progress, self.recipe)
        peaks = (self.recipe.muon_rate, self.recipe.adam_rate)
        for optimizer, peak in zip(self.optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * share
            optimizer.step()
            optimizer.zero_grad()
        self.average.update(self.model, self.step)
        self.step += 1
        self.seen_tokens += batch.shape[0] * (batch.shape[1] - 1)
        return loss.item()

    def validate(self, tokens: np.ndarray) -> float:
        """Nats per token of the averaged weights."""
        averaged = Llama(self.model.shape)
        averaged.load_state_dict(self.average.weights)
        return validation_loss(averaged, tokens, self.recipe.length)


def train(run: Run, data: Path, out: Path, threads: int) -> None:
    recipe = run.recipe
    everything = Stream.load(data / "train.npy", recipe.length)
    core = Stream.load(data / "train_core.npy", recipe.length)
    held_out, held_out_core = (np.load(data / f"validation{c}.npy") for c in ("", "_core"))
    facts = json.loads((data / "facts.json").read_text())
    tokens_per_byte = facts["validation_tokens"] / facts["validation_bytes"]

    def report(loss: float) -> None:
        nats, core_nats = run.validate(held_out), run.validate(held_out_core)
        line = {
            "step": run.step,
            "minutes": round(run.seconds / 60, 2),
            "cpu_minutes": round(time.process_time() / 60, 2),
            "tokens": run.seen_tokens,
            "train_loss": round(loss, 4),
            "validation_loss": round(nats, 4),
            "core_validation_loss": round(core_nats, 4),
            "bits_per_byte": round(nats / math.log(2) * tokens_per_byte, 4),
        }
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        print(line, flush=True)

    pace, recent, saved_at = Threads(threads), [], run.seconds
    while run.progress < 1:
        began = time.perf_counter()
        count = pace.choose(run.step)
        simple = run.progress >= recipe.core_from and run.rng.random() < recipe.core_share
        stream = core if simple else everything
        batch = sample_batch(stream, run.progress, recipe, run.rng)
        recent.append(run.advance(batch))
        seconds = time.perf_counter() - began
        pace.seconds[count] = seconds / batch.numel()
        run.seconds += seconds
        if run.step % 50 == 0:
            rate = 1 / pace.seconds[count]
            loss = sum(recent[-50:]) / len(recent[-50:])
            print(
                f"step {run.step}, {run.seconds / 60:.1f} of {recipe.minutes:.0f} min, "
                f"loss {loss:.3f}, {rate:.0f} tokens/s on {count} threads",
                flush=True,
            )
        if run.step % REPORT_STEPS == 0:
            report(sum(recent[-REPORT_STEPS:]) / len(recent[-REPORT_STEPS:]))
        if run.seconds - saved_at > SAVE_SECONDS:
            run.save(out / "state.pt")
            saved_at = run.seconds
    run.save(out / "state.pt")
    report(sum(recent[-REPORT_STEPS:]) / max(1, len(recent[-REPORT_STEPS:])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--compile", action="store_true", help="a fifth faster; needs a C++ compiler"
    )
    for name in ("layers", "hidden", "heads", "kv_heads", "ffn"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Shape, name))
    for name, field in Recipe.__dataclass_fields__.items():
        default = None if name == "minutes" else field.default
        kind = int if isinstance(default, int) else float
        parser.add_argument(f"--{name}", type=kind, default=default, required=default is None)
    args = vars(parser.parse_args())
    vocab = json.loads((args["data"] / "facts.json").read_text())["vocab"]
    shape = Shape(vocab=vocab, **{k: v for k, v in args.items() if k in Shape.__dataclass_fields__})
    recipe = Recipe(**{k: v for k, v in args.items() if k in Recipe.__dataclass_fields__})
    run = Run(shape, recipe, args["compile"])
    args["out"].mkdir(parents=True, exist_ok=True)
    if (state := args["out"] / "state.pt").exists():
        run.load(state)
    parameters = sum(p.numel() for p in run.model.parameters())
    print(f"{parameters:,} parameters, {shape}, {recipe}, from step {run.step}", flush=True)
    train(run, args["data"], args["out"], args["threads"])


if __name__ == "__main__":
    main()
