"""The decoder in plain NumPy: one sequence, no cache, no mesh. A second, slow, obvious answer.

Reads tensors by their Hugging Face names from a `Checkpoint`; everything else is written out here,
so that a test that compares with it does not compare the package with itself.
"""

import numpy as np

from waferllm.models.checkpoint import Checkpoint
from waferllm.models.rope import rope_frequencies


def forward(checkpoint: Checkpoint, ids, dtype=np.float64) -> np.ndarray:
    """Logits of every position, shape (len(ids), vocab), computed in `dtype`."""
    config = checkpoint.config

    def weight(name):
        return checkpoint.tensor(name).astype(dtype)

    x = weight("model.embed_tokens.weight")[np.asarray(ids)]
    for layer in range(config.layers):
        at = f"model.layers.{layer}"
        normed = rms_norm(x, weight(f"{at}.input_layernorm.weight"), config.norm_eps)
        x = x + attention(checkpoint, layer, normed, dtype)
        normed = rms_norm(x, weight(f"{at}.post_attention_layernorm.weight"), config.norm_eps)
        gate = normed @ weight(f"{at}.mlp.gate_proj.weight").T
        up = normed @ weight(f"{at}.mlp.up_proj.weight").T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weight(f"{at}.mlp.down_proj.weight").T
    x = rms_norm(x, weight("model.norm.weight"), config.norm_eps)
    return x @ weight("lm_head.weight").T


def greedy(checkpoint: Checkpoint, ids, count: int, dtype=np.float64) -> list[int]:
    """The next `count` tokens, each the most likely; the whole sequence is computed every time."""
    ids = list(ids)
    start = len(ids)
    for _ in range(count):
        ids.append(int(forward(checkpoint, ids, dtype)[-1].argmax()))
    return ids[start:]


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """x / rms(x) * weight over the last axis."""
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(eps)) * weight


def attention(checkpoint: Checkpoint, layer: int, x: np.ndarray, dtype) -> np.ndarray:
    """Causal attention of one layer; x and the result are (length, hidden)."""
    config = checkpoint.config
    at = f"model.layers.{layer}.self_attn"
    length = len(x)

    def project(name, value, biased):
        out = value @ checkpoint.tensor(f"{at}.{name}.weight").astype(dtype).T
        return out + checkpoint.tensor(f"{at}.{name}.bias").astype(dtype) if biased else out

    q, k, v = (
        project(f"{name}_proj", x, config.qkv_bias).reshape(length, -1, config.head_dim)
        for name in "qkv"
    )
    if config.qk_norm:
        q = rms_norm(q, checkpoint.tensor(f"{at}.q_norm.weight").astype(dtype), config.norm_eps)
        k = rms_norm(k, checkpoint.tensor(f"{at}.k_norm.weight").astype(dtype), config.norm_eps)
    q, k = rotate(config, q), rotate(config, k)
    k, v = (np.repeat(value, config.group, axis=1) for value in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / dtype(config.head_dim) ** dtype(0.5)
    scores = np.where(visible(length, config.window(layer)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    heads = np.einsum("hqk,khd->qhd", weights, v)
    return project("o_proj", heads.reshape(length, -1), config.o_bias)


def visible(length: int, window: int | None) -> np.ndarray:
    """Which keys (columns) each query (rows) may see, shape (length, length)."""
    query, key = np.indices((length, length))
    return (key <= query) & (key > query - (window or length))


def rotate(config, x: np.ndarray) -> np.ndarray:
    """Rotary embedding of (length, heads, head_dim), with the float32 angles of transformers."""
    frequencies, scale = rope_frequencies(config)
    angles = np.arange(len(x), dtype=np.float32)[:, None] * frequencies
    cos, sin = (
        (function(angles) * np.float32(scale)).astype(x.dtype)[:, None, :]
        for function in (np.cos, np.sin)
    )
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
