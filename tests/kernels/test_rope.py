"""Rotary embedding of adjacent pairs against Hugging Face's rotate-half, entries permuted."""

import numpy as np

from tests.kernels.numbers import noise
from waferllm.kernels.rope import rotate_pairs, rotation


def rotate_half(x: np.ndarray, position: np.ndarray, frequencies: np.ndarray, scale: float):
    """transformers' apply_rotary_pos_emb: x cos + rotate_half(x) sin, both halves the same angles."""
    angle = np.concatenate([position[:, None] * frequencies] * 2, axis=-1)
    half = x.shape[-1] // 2
    turned = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
    return x * np.cos(angle)[:, None] * scale + turned * np.sin(angle)[:, None] * scale


def interleaved(width: int) -> np.ndarray:
    """Entry i beside entry i + width / 2."""
    return np.array([i // 2 + i % 2 * (width // 2) for i in range(width)])


def test_adjacent_pairs_turn_as_the_two_halves_do() -> None:
    tokens, heads, width = 5, 3, 8
    frequencies = (10_000.0 ** -(np.arange(width // 2) / (width // 2))).astype(np.float32)
    position = np.array([0, 1, 2, 77, 1000], np.int32)
    x = noise((tokens, heads, width))
    exact = rotate_half(x.astype(float), position.astype(float), frequencies.astype(float), 1.5)
    cos, sin = rotation(position, frequencies, 1.5)
    order = interleaved(width)
    got = rotate_pairs(x[..., order], cos[:, None], sin[:, None])
    np.testing.assert_allclose(got, exact[..., order], rtol=0, atol=2e-4)  # 1000 rad in float32
    np.testing.assert_allclose(got[:3], exact[:3][..., order], rtol=0, atol=2e-6)


def test_a_head_may_be_cut_between_pairs_and_padded() -> None:
    """Each part turns by its own frequencies; zeros stay zeros whatever their frequency."""
    width = 6
    frequencies = np.array([1.0, 0.1, 0.01], np.float32)
    position = np.arange(4, dtype=np.int32)
    x = noise((4, 2, width))
    whole = rotate_pairs(x, *(r[:, None] for r in rotation(position, frequencies, 1.0)))
    padded = np.pad(x, ((0, 0), (0, 0), (0, 2)))
    for part in (slice(0, 4), slice(4, 8)):
        own = np.pad(frequencies, (0, 1))[part.start // 2 : part.stop // 2]
        got = rotate_pairs(padded[..., part], *(r[:, None] for r in rotation(position, own, 1.0)))
        np.testing.assert_array_equal(got, np.pad(whole, ((0, 0), (0, 0), (0, 2)))[..., part])


def test_turning_keeps_products_of_positions_equally_far_apart() -> None:
    """q at p and k at p + d give the same score for every p: what makes the embedding relative."""
    frequencies = np.array([1.0, 0.3, 0.05, 0.01], np.float32)
    q, k = noise((8,), seed=1), noise((8,), seed=2)

    def turned(x: np.ndarray, position: int) -> np.ndarray:
        cos, sin = rotation(np.array([position], np.int32), frequencies, 1.0)
        return np.asarray(rotate_pairs(x[None], cos, sin))[0]

    scores = [turned(q, p) @ turned(k, p + 5) for p in (0, 3, 11, 100)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-4)
    assert abs(scores[0] - q @ k) > 0.1  # but it does depend on how far apart they are


def test_half_precision_is_turned_in_float32() -> None:
    x = noise((3, 2, 4), "bfloat16")
    frequencies = np.array([1.0, 0.1], np.float32)
    cos, sin = rotation(np.array([1, 2, 3], np.int32), frequencies, 1.0)
    got = np.asarray(rotate_pairs(x, cos[:, None], sin[:, None]))
    wide = np.asarray(rotate_pairs(x.astype(np.float32), cos[:, None], sin[:, None]))
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, wide.astype(x.dtype))
