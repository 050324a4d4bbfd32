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
REPORT_STEPS = 64


@dataclass(frozen=True)
class Recipe:
    """What a run does. `batch_tokens` per step; learning rates are those of the plateau."""

    minutes: float
    batch_tokens: int = 8192
    short_length: int = 256
    length: int = 512
    short_share: float = 0.6  # of the run, at the short length
    story_start_share: float = 0.2  # of the rows: they begin at a BOS, as every prompt does
    muon_rate: float = 0.02
    adam_rate: float = 0.003
    weight_decay: float = 0.1
    warmup_steps: int = 60
    decay_share: float = 0.4
    average_decay: float = 0.998
    seed: int = 0


def rate_at(step: int, progress: float, recipe: Recipe) -> float:
    """Multiplier of the learning rates: warm-up by steps, decay by `progress` in [0, 1]."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    return warm * min(1.0, max(0.0, 1.0 - progress) / recipe.decay_share)


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


def sample_batch(
    tokens: np.ndarray, starts: np.ndarray, length: int, recipe: Recipe, rng: np.random.Generator
) -> Tensor:
    """Windows [b, length + 1] of the token stream, some of them from the start of a story."""
    rows = recipe.batch_tokens // length
    offsets = rng.integers(0, len(tokens) - length - 1, rows)
    at_start = rng.random(rows) < recipe.story_start_share
    offsets = np.where(at_start, rng.choice(starts, rows), offsets)
    return torch.from_numpy(tokens[offsets[:, None] + np.arange(length + 1)].astype(np.int64))


def loss_of(model: torch.nn.Module, batch: Tensor) -> Tensor:
    logits = model(batch[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def validation_loss(model: torch.nn.Module, tokens: np.ndarray, length: int) -> float:
    """Nats per token over the whole stream, cut into windows of `length`."""
    rows = (len(tokens) - 1) // length
    total = 0.0
    for row in range(0, rows, 16):
        index = np.arange(row, min(row + 16, rows))[:, None] * length + np.arange(length + 1)
        total += loss_of(model, torch.from_numpy(tokens[index].astype(np.int64))).item() * len(index)
    return total / rows


class Threads:
    """One thread or all of them, whichever is faster just now.

    On a machine shared with others two threads can be slower than one: each waits for the other,
    and the scheduler makes one of them wait for a stranger. Hence a trial of both every 40 steps.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.seconds: dict[int, float] = {}

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


def save_whole(path: Path, **state: object) -> None:
    """Writes beside the file, then renames: an interruption leaves the old one."""
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def train(shape: Shape, recipe: Recipe, data: Path, out: Path, threads: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tokens, held_out = (np.load(data / f"{part}.npy") for part in ("train", "validation"))
    starts = np.flatnonzero(tokens[: -recipe.length - 1] == BOS_ID)
    bytes_per_token = (facts := json.loads((data / "facts.json").read_text()))[
        "validation_bytes"
    ] / facts["validation_tokens"]

    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    model = Llama(shape)
    optimizers = make_optimizers(model, recipe)
    average = Average(model, recipe.average_decay)
    step, spent, seen_tokens = 0, 0.0, 0
    if (state_path := out / "state.pt").exists():
        state = torch.load(state_path, weights_only=False)
        model.load_state_dict(state["model"])
        average.weights = state["average"]
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, spent, seen_tokens = state["step"], state["spent"], state["seen_tokens"]
        rng.bit_generator.state = state["rng"]
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {asdict(shape)}, {asdict(recipe)}", flush=True)

    def save() -> None:
        save_whole(
            state_path, shape=asdict(shape), recipe=asdict(recipe), model=model.state_dict(),
            average=average.weights, optimizers=[o.state_dict() for o in optimizers], step=step,
            spent=spent, seen_tokens=seen_tokens, rng=rng.bit_generator.state,
        )  # fmt: skip

    def report(loss: float) -> None:
        plain = {n: p.detach().clone() for n, p in model.named_parameters()}
        model.load_state_dict(average.weights)
        held = validation_loss(model, held_out, recipe.length)
        model.load_state_dict(plain)
        line = {
            "step": step, "minutes": round(spent / 60, 2), "cpu_minutes": round(time.process_time() / 60, 2), "tokens": seen_tokens,
            "train_loss": round(loss, 4), "validation_loss": round(held, 4),
            "bits_per_byte": round(held / math.log(2) / bytes_per_token, 4),
        }  # fmt: skip
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        print(line, flush=True)

    recent, saved_at, pace = float("nan"), spent, Threads(threads)
    while (progress := spent / 60 / recipe.minutes) < 1:
        began = time.perf_counter()
        count = pace.choose(step)
        length = recipe.short_length if progress < recipe.short_share else recipe.length
        loss = loss_of(model, sample_batch(tokens, starts, length, recipe, rng))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, peak in zip(
            optimizers, (recipe.muon_rate, recipe.adam_rate), strict=True
        ):
            optimizer.param_groups[0]["lr"] = peak * rate_at(step, progress, recipe)
            optimizer.step()
            optimizer.zero_grad()
        average.update(model, step)
        recent = loss.item() if math.isnan(recent) else 0.98 * recent + 0.02 * loss.item()
        step, seen_tokens = step + 1, seen_tokens + recipe.batch_tokens
        pace.seconds[count] = time.perf_counter() - began
        spent += pace.seconds[count]
        if step % 50 == 0:
            rate = recipe.batch_tokens / pace.seconds[count]
            print(
                f"step {step}, {spent / 60:.1f} min, loss {recent:.3f}, {rate:.0f} tokens/s on "
                f"{count} threads", flush=True,
            )  # fmt: skip
        if spent - saved_at > 120:
            save()
            saved_at = spent
        if step % REPORT_STEPS == 0:
            report(recent)
    save()
    report(recent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
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
    train(shape, recipe, args["data"], args["out"], args["threads"])


if __name__ == "__main__":
    main()
