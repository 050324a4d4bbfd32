"""Make tests/fixtures: tiny random checkpoints, and what transformers says of them.

    python tools/make_fixtures.py [NAME ...]        needs torch and transformers; half a minute

Every family gets a checkpoint of a few ten thousand random weights. Its `expected.npz` holds two
prompts, the logits of the first and the greedy continuations of both, computed by transformers in
float32 with eager attention. Seeds are searched until no greedy choice is close, so that another
order of additions cannot change a token. `tools/tiny_tokenizers.py` makes the tokenizers.
"""

import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tiny_tokenizers import TOKENIZERS, write_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
LONG, SHORT, GREEDY = 33, 7, 24
MARGIN = 0.02


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One checkpoint. `values` go to the transformers config class; `old` writes the config.json
    of transformers 4 (`rope_theta`, `rope_scaling`, `torch_dtype`) instead."""

    family: str
    values: dict[str, Any]
    dtype: torch.dtype = torch.float32
    tokenizer: str = "words"
    shards: bool = False
    old: bool = False
    vocab: int = 97
    generation: dict[str, Any] = field(default_factory=dict)


def sizes(hidden: int, ffn: int, heads: int, kv_heads: int | None, layers: int = 2) -> dict:
    """The five sizes every config has; no kv_heads leaves the key to the default."""
    return {
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "max_position_embeddings": 128,
    } | ({} if kv_heads is None else {"num_key_value_heads": kv_heads})


def rope(kind: str, theta: float = 10000.0, **parameters: float) -> dict:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **parameters}}


TIED = {"tie_word_embeddings": True}
LLAMA3_ROPE = rope(
    "llama3",
    500000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
SPECS: dict[str, Spec] = {
    "llama-mha": Spec(family="llama", values=sizes(32, 20, 4, None), old=True),
    "llama-gqa-tied": Spec(family="llama", values=sizes(36, 40, 6, 2) | TIED),
    "llama-mqa": Spec(family="llama", values=sizes(30, 36, 5, 1)),
    "llama-odd-f16": Spec(
        family="llama",
        values=sizes(60, 52, 4, 2) | {"head_dim": 12} | TIED,
        dtype=torch.float16,
    ),
    "llama-bias": Spec(family="llama", values=sizes(24, 26, 3, 3) | {"attention_bias": True}),
    "llama-sharded": Spec(family="llama", values=sizes(24, 28, 4, 2, layers=3), shards=True),
    "llama3-rope": Spec(family="llama", values=sizes(32, 28, 4, 2) | LLAMA3_ROPE | TIED),
    "llama-rope-linear": Spec(
        family="llama", values=sizes(30, 28, 3, 1) | rope("linear", factor=4.0) | TIED, old=True
    ),
    "llama-rope-yarn": Spec(
        family="llama",
        values=sizes(28, 22, 2, 2)
        | rope("yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=16.0)
        | TIED,
    ),
    "codellama": Spec(
        family="llama", values=sizes(24, 36, 4, 4) | rope("default", 1e6), old=True, vocab=101
    ),
    "mistral-window": Spec(
        family="mistral", values=sizes(32, 26, 4, 2) | {"sliding_window": 8} | rope("default", 1e4)
    ),
    "mistral-bf16": Spec(
        family="mistral",
        values=sizes(48, 40, 6, 3) | {"sliding_window": None},
        dtype=torch.bfloat16,
    ),
    "qwen2-chat": Spec(
        family="qwen2",
        values=sizes(24, 28, 2, 1) | {"bos_token_id": None, "eos_token_id": 292} | TIED,
        tokenizer="chatml",
        vocab=304,
        generation={"eos_token_id": [292, 290], "temperature": 0.7, "top_p": 0.8, "top_k": 20},
    ),
    "qwen2-window": Spec(
        family="qwen2",
        values=sizes(24, 28, 4, 2, layers=3)
        | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}
        | TIED,
        old=True,
    ),
    "qwen3": Spec(family="qwen3", values=sizes(28, 34, 4, 2) | {"head_dim": 10} | TIED),
    "qwen3-window": Spec(
        family="qwen3",
        values=sizes(32, 28, 3, 1)
        | {"head_dim": 10, "use_sliding_window": True, "sliding_window": 11}
        | {"layer_types": ["full_attention", "sliding_attention"], "hidden_size": 33}
        | TIED,
    ),
}


def random_model(spec: Spec, seed: int) -> torch.nn.Module:
    """A model with every weight drawn: norms around one, biases not zero, sharp attention."""
    values = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None} | spec.values
    config = AutoConfig.for_model(spec.family, vocab_size=spec.vocab, **values)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if name.endswith("norm.weight"):
                weight.copy_(1 + 0.3 * noise)
            elif name.endswith("bias") or "embed" in name:
                weight.copy_(0.5 * noise)
            else:
                weight.copy_(1.8 / weight.shape[1] ** 0.5 * noise)
    return model.to(spec.dtype).eval()


def save(spec: Spec, seed: int, path: Path) -> torch.nn.Module:
    """Write the checkpoint, and read it back as anyone would: in float32, eager attention."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    model = random_model(spec, seed)
    model.generation_config.update(**spec.generation)
    model.generation_config.do_sample = bool(spec.generation)
    model.save_pretrained(path, max_shard_size="32KB" if spec.shards else "1GB")
    if spec.old:
        (path / "config.json").write_text(json.dumps(old_config(spec), indent=1) + "\n")
    return AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def old_config(spec: Spec) -> dict[str, Any]:
    """The config.json that transformers 4 wrote for the same model."""
    values = dict(spec.values)
    scaling = values.pop("rope_parameters", {"rope_type": "default", "rope_theta": 10000.0})
    theta, kind = scaling.pop("rope_theta"), scaling.pop("rope_type")
    scaling = {"type": kind} | scaling
    classes = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
    return {
        "architectures": [classes[spec.family]],
        "model_type": spec.family,
        "vocab_size": spec.vocab,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "rope_theta": theta,
        "rope_scaling": None if kind == "default" else scaling,
        "torch_dtype": str(spec.dtype).removeprefix("torch."),
        "transformers_version": "4.40.0",
    } | values


@torch.no_grad()
def logits_of(model: torch.nn.Module, ids: list[int]) -> np.ndarray:
    return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


def greedy_of(model: torch.nn.Module, ids: list[int]) -> tuple[list[int], float]:
    """The continuation without a cache, and its closest call: best minus second-best logit."""
    ids, margin = list(ids), np.inf
    for _ in range(GREEDY):
        second, best = np.sort(logits_of(model, ids)[-1])[-2:]
        margin = min(margin, float(best - second))
        ids.append(int(logits_of(model, ids)[-1].argmax()))
    return ids[-GREEDY:], margin


def cached_greedy(model: torch.nn.Module, ids: list[int]) -> list[int]:
    """The continuation as transformers' own `generate` makes it, with its cache."""
    model.generation_config = transformers.GenerationConfig(pad_token_id=0)
    out = model.generate(
        torch.tensor([ids]), max_new_tokens=GREEDY, do_sample=False, eos_token_id=None
    )
    return out[0, len(ids) :].tolist()


def expected_of(model: torch.nn.Module, spec: Spec, seed: int) -> dict[str, Any] | None:
    """Everything a test compares with; None if a greedy choice is too close or too monotonous."""
    rng = np.random.default_rng(seed)
    prompt, short = ([1, *rng.integers(3, spec.vocab, n - 1).tolist()] for n in (LONG, SHORT))
    (greedy, margin), (short_greedy, short_margin) = (greedy_of(model, p) for p in (prompt, short))
    if min(margin, short_margin) < MARGIN or min(len(set(greedy)), len(set(short_greedy))) < 6:
        return None
    assert cached_greedy(model, prompt) == greedy
    assert cached_greedy(model, short) == short_greedy
    rotary = model.model.rotary_emb
    return {
        "prompt": np.array(prompt, np.int32),
        "logits": logits_of(model, prompt),
        "greedy": np.array(greedy, np.int32),
        "short_prompt": np.array(short, np.int32),
        "short_greedy": np.array(short_greedy, np.int32),
        "margin": np.float32(min(margin, short_margin)),
        "inv_freq": rotary.inv_freq.numpy(),
        "rope_scale": np.float64(rotary.attention_scaling),
    }


def make(name: str) -> None:
    """Write one fixture directory with the first seed that gives clear greedy choices."""
    spec, path = SPECS[name], FIXTURES / name
    for seed in range(1000):
        model = save(spec, seed, path)
        expected = expected_of(model, spec, seed)
        if expected is not None:
            break
    else:
        raise SystemExit(f"{name}: no seed below 1000 gives clear greedy choices.")
    np.savez_compressed(path / "expected.npz", **expected)
    for file in (FIXTURES / "tokenizers" / spec.tokenizer).iterdir():
        if file.name != "expected.json":
            shutil.copy(file, path / file.name)
    size = sum(file.stat().st_size for file in path.iterdir())
    print(f"{name}: seed {seed}, margin {expected['margin']:.3f}, {size / 1000:.0f} KB")


def main(names: list[str]) -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    if not names:
        for tokenizer in TOKENIZERS:
            write_tokenizer(tokenizer, FIXTURES / "tokenizers" / tokenizer)
    for name in names or SPECS:
        make(name)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    main(sys.argv[1:])
