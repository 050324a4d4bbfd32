"""Write a trained run as a Hugging Face checkpoint that `transformers` and waferllm load.

    python export.py run/ data/ --out ../src/waferllm/checkpoints/fables

The folder is written beside its place and then moved there, hence a reader never sees half of it.
"""

import argparse
import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch
from model import Llama, Shape
from prepare import BOS, EOS
from safetensors.torch import save_file
from train import validation_loss

CONTEXT = 512


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
    "temperature": 0.8,
    "top_p": 0.95,
    "max_new_tokens": 256,
}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="what train.py wrote")
    parser.add_argument("data", type=Path, help="what prepare.py wrote")
    parser.add_argument("--card", type=Path, help="the model card to ship as README.md")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    state = torch.load(args.run / "state.pt", weights_only=False)
    shape = Shape(**state["shape"])
    half = {name: weight.to(torch.float16) for name, weight in state["average"].items()}

    part = args.out.with_name(args.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file(
        {f"model.{name}": weight.contiguous() for name, weight in half.items()},
        part / "model.safetensors",
        metadata={"format": "pt"},
    )
    (part / "model.safetensors").chmod(0o644)  # safetensors makes it private
    write_json(part / "config.json", config(shape))
    write_json(part / "tokenizer_config.json", TOKENIZER_CONFIG)
    write_json(part / "generation_config.json", GENERATION_CONFIG)
    tokenizer = json.loads((args.data / "tokenizer.json").read_text())
    (part / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    if args.card:
        shutil.copy(args.card, part / "README.md")
    elif (args.out / "README.md").exists():
        shutil.copy(args.out / "README.md", part / "README.md")

    if args.out.exists():
        old = args.out.with_name(args.out.name + ".old")
        args.out.rename(old)
        part.rename(args.out)
        shutil.rmtree(old)
    else:
        part.rename(args.out)

    model = Llama(shape)
    model.load_state_dict({name: weight.float() for name, weight in half.items()})
    facts = json.loads((args.data / "facts.json").read_text())
    nats = validation_loss(model, np.load(args.data / "validation.npy"), CONTEXT)
    bits = nats / math.log(2) * facts["validation_tokens"] / facts["validation_bytes"]
    total = sum(f.stat().st_size for f in args.out.iterdir())
    print(f"as shipped: {nats:.4f} nats/token, {bits:.4f} bits/byte, {total:,} bytes in {args.out}")


if __name__ == "__main__":
    main()
