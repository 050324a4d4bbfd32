"""Write a trained run as a Hugging Face checkpoint that `transformers` and waferllm load.

    python export.py run/ data/ --out ../src/waferllm/checkpoints/fables

The folder is written beside its place and then moved there, hence a reader never sees half of it.
"""

import argparse
import json
import math
import shutil
import string
from pathlib import Path

import numpy as np
import torch
from model import Llama, Shape
from prepare import BOS, EOS
from safetensors.torch import save_file
from tokenizers import Tokenizer
from train import validation_loss

CONTEXT = 512
MOST_BYTES = 8_000_000
SAMPLE_TOKENS = 150
SAMPLE_PROMPTS = ("", "Once upon a time", "The fox", "Peter Rabbit")


def config(shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": shape.norm_eps,
        "initializer_range": 0.02,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "use_cache": True,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float16",
    }


TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": BOS,
    "eos_token": EOS,
    "model_max_length": CONTEXT,
    "clean_up_tokenization_spaces": False,
    "model_input_names": ["input_ids", "attention_mask"],
}
GENERATION_CONFIG = {
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
    "do_sample": True,
    "temperature": 0.7,
    "top_p": 0.9,
    "max_new_tokens": 256,
}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


@torch.no_grad()
def tell(model: Llama, tokenizer: Tokenizer, prompt: str, temperature: float, top_p: float) -> str:
    """A continuation of `prompt`; temperature 0 is greedy. No cache: this is for a few samples."""
    generator = torch.Generator().manual_seed(0)
    ids = tokenizer.encode(prompt).ids
    while len(ids) < SAMPLE_TOKENS:
        logits = model(torch.tensor([ids]))[0, -1]
        if temperature == 0:
            ids.append(int(logits.argmax()))
        else:
            chances, order = torch.softmax(logits / temperature, -1).sort(descending=True)
            chances[chances.cumsum(0) - chances > top_p] = 0
            ids.append(int(order[torch.multinomial(chances, 1, generator=generator)]))
        if ids[-1] == GENERATION_CONFIG["eos_token_id"]:
            break
    return tokenizer.decode(ids)


def samples(model: Llama, tokenizer: Tokenizer) -> str:
    """Markdown: each prompt continued greedily, then at temperature 0.8."""
    texts = []
    for prompt in SAMPLE_PROMPTS:
        texts.append(f"**Prompt: {prompt or '(none)'}**")
        for temperature in (0.0, 0.8):
            text = tell(model, tokenizer, prompt, temperature, 0.95)
            texts.append("> " + text.replace("\n\n", "\n>\n> "))
    return "\n\n".join(texts)


def measures(model: Llama, data: Path) -> dict[str, str]:
    """Held-out losses of the weights as shipped, on all stories and on those of the core books."""
    facts = json.loads((data / "facts.json").read_text())
    found = {k: f"{v:,}" for k, v in facts.items()}
    for prefix, part in (("", "validation"), ("core_", "validation_core")):
        nats = validation_loss(model, np.load(data / f"{part}.npy"), CONTEXT)
        bits = nats / math.log(2) * facts[f"{part}_tokens"] / facts[f"{part}_bytes"]
        found |= {f"{prefix}nats": f"{nats:.3f}", f"{prefix}bits": f"{bits:.3f}"}
    return found


def card(template: Path, model: Llama, state: dict, data: Path) -> str:
    """The model card, every number of it measured or read from the run."""
    _, seconds, seen_tokens = state["counters"]
    return string.Template(template.read_text()).substitute(
        measures(model, data)
        | state["shape"]
        | {
            "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
            "head_dim": model.shape.head_dim,
            "context": CONTEXT,
            "minutes": f"{seconds / 60:.0f}",
            "seen": f"{seen_tokens:,}",
            "samples": samples(model, Tokenizer.from_file(str(data / "tokenizer.json"))),
        }
    )


def put_in_place(part: Path, out: Path) -> None:
    """Moves a finished folder over the old one."""
    old = out.with_name(out.name + ".old")
    if out.exists():
        out.rename(old)
    part.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="what train.py wrote")
    parser.add_argument("data", type=Path, help="what prepare.py wrote")
    parser.add_argument("--card", type=Path, default=Path(__file__).with_name("card.md"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    state = torch.load(args.run / "state.pt", weights_only=False)
    shape = Shape(**state["shape"])
    half = {name: weight.to(torch.float16) for name, weight in state["average"].items()}
    model = Llama(shape)
    model.load_state_dict({name: weight.float() for name, weight in half.items()})

    part = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    tensors = {f"model.{name}": weight.contiguous() for name, weight in half.items()}
    save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
    (part / "model.safetensors").chmod(0o644)  # safetensors makes it private
    write_json(part / "config.json", config(shape))
    write_json(part / "tokenizer_config.json", TOKENIZER_CONFIG)
    write_json(part / "generation_config.json", GENERATION_CONFIG)
    tokenizer = json.loads((args.data / "tokenizer.json").read_text())
    (part / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n")
    (part / "README.md").write_text(card(args.card, model, state, args.data))

    total = sum(f.stat().st_size for f in part.iterdir())
    if total > MOST_BYTES:
        raise ValueError(
            f"{part} holds {total:,} bytes, {MOST_BYTES:,} may ship. Train less width."
        )
    put_in_place(part, args.out)
    print(f"{total:,} bytes in {args.out}")


if __name__ == "__main__":
    main()
