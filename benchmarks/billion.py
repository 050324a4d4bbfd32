"""A random Llama of TinyLlama's shape (1.1 billion parameters), float32, beside transformers.

Each runs in a process of its own, one after the other, so that memory is each one's own. The random
checkpoint (4.4 GB) is made once in a temporary folder, or in the one given as first argument.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import verdict

PROMPT, TOKENS, VOCAB = 512, 12, 32_000
GB = 1e9
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": VOCAB,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "float32",
}


def make(folder: Path) -> None:
    """Write the random checkpoint unless it is there."""
    from safetensors.numpy import save_file

    from waferllm.models.checkpoint import expected_tensors
    from waferllm.models.config import ModelConfig

    if (folder / "model.safetensors").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    rng = np.random.default_rng(0)
    shapes = expected_tensors(ModelConfig.from_hf(CONFIG))
    tensors = {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
        for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def ours(folder: Path, mesh: str) -> dict[str, float]:
    import jax.numpy as jnp

    from waferllm.layout import Mesh
    from waferllm.models.checkpoint import open_checkpoint
    from waferllm.models.programs import ModelPrograms
    from waferllm.models.runner import WaferRunner, place_model

    checkpoint = open_checkpoint(folder)
    programs = ModelPrograms(
        checkpoint.config, Mesh.parse(mesh), chunk=PROMPT, capacity=PROMPT + 128, dtype=jnp.float32
    )
    runner = WaferRunner(place_model(checkpoint, programs), programs, programs)
    ids = np.random.default_rng(1).integers(3, VOCAB, PROMPT)
    one, active = np.array([5]), np.array([True])
    prefill = _best(lambda: runner.prefill(0, ids, 0, PROMPT, True), 3)
    at = iter(range(PROMPT, PROMPT + 100))
    decode = _best(lambda: runner.decode(one, np.array([next(at)]), active), TOKENS)
    return {"prefill": prefill, "decode": decode, "memory": _peak()}


def theirs(folder: Path) -> dict[str, float]:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.randint(3, VOCAB, (1, PROMPT))
    with torch.no_grad():
        prefill = _best(lambda: model(ids, use_cache=True, logits_to_keep=1), 3)
        cache = model(ids, use_cache=True, logits_to_keep=1).past_key_values
        one = torch.tensor([[5]])
        decode = _best(lambda: model(one, past_key_values=cache, use_cache=True), TOKENS)
    return {"prefill": prefill, "decode": decode, "memory": _peak()}


def _best(task: object, rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        task()  # type: ignore[operator]
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def measure(folder: Path, who: str) -> dict[str, float]:
    """Run this file again for one of the two, and read its figures."""
    done = subprocess.run(
        [sys.executable, __file__, str(folder), who], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.gettempdir()) / "llama-1b"
    if len(sys.argv) > 2:
        who = sys.argv[2]
        print(json.dumps(theirs(folder) if who == "transformers" else ours(folder, who)))
        return
    make(folder)
    weights = (folder / "model.safetensors").stat().st_size
    peer = measure(folder, "transformers")
    print(
        f"transformers: prefill {peer['prefill']:.2f} s, decode {1 / peer['decode']:.2f} tokens/s"
    )
    for mesh in ("4x4", "8x8"):
        run = measure(folder, mesh)
        print(f"{mesh}: prefill {run['prefill']:.2f} s, decode {1 / run['decode']:.2f} tokens/s")
        print(verdict(f"{mesh} prefill of {PROMPT} tokens", peer["prefill"] / run["prefill"], 0.5))
        print(verdict(f"{mesh} decode", peer["decode"] / run["decode"], 0.5))
        limit = 1.3 * weights + GB
        print(
            f"{mesh} peak memory {run['memory'] / GB:.2f} GB, limit {limit / GB:.2f} GB "
            f"({'kept' if run['memory'] <= limit else 'EXCEEDED'}; weights {weights / GB:.2f} GB)"
        )


if __name__ == "__main__":
    main()
