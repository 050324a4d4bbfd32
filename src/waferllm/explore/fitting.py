"""The few fitted efficiencies: what they are, and the fit that gives them.

    products      time = kernel + max(operations / (peak x eff), bytes / (bandwidth x eff))
    all-reduce    min(software + (p-1) peer + (p-1) n / (B eff_small), bulk + 2 (p-1)/p n / (B eff_bulk))
    all-to-all    exchange + (p-1)/p n / (B eff_exchange)

Fitted to nothing but `measured` (kernels), by least squares on logarithms with a soft loss. Whole
models are no part of the fit; `calibrated` compares them with the few published points of `measured`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from waferllm.explore import measured

Vector = np.ndarray[Any, np.dtype[np.float64]]
BYTES = {"bf16": 2.0, "fp8": 1.0, "fp4": 0.5625}


@dataclass(frozen=True)
class Product:
    """Fit of one device and format: reachable shares and the fixed time of a kernel."""

    gemm_eff: float
    memory_eff: float
    kernel_us: float


@dataclass(frozen=True)
class Collective:
    """Fit of one device's links; fixed times hold one hop of the wire."""

    small_us: float
    peer_us: float
    eff_small: float
    bulk_us: float
    eff_bulk: float
    exchange_us: float
    eff_exchange: float


@dataclass(frozen=True)
class Nameplate:
    """Peaks that a fit refers to: TFLOP/s by format, memory TB/s, link GB/s in one direction."""

    tflops: dict[str, float]
    tbps: float
    link_gbps: float


def product_us(m: Vector, n: int, k: int, plate: Nameplate, format_: str, fit: Product) -> Vector:
    """Time of m x k by k x n; weights and activations in the format, results in 16 bits."""
    size = BYTES[format_]
    flops = 2.0 * m * n * k / (plate.tflops[format_] * 1e6 * fit.gemm_eff)
    moved = size * n * k + size * m * k + 2.0 * m * n
    return fit.kernel_us + np.maximum(flops, moved / (plate.tbps * 1e6 * fit.memory_eff))


def all_reduce_us(p: Vector, n_bytes: Vector, plate: Nameplate, fit: Collective) -> Vector:
    """Time of the cheaper of the two measured algorithms."""
    beta_us = n_bytes / (plate.link_gbps * 1e3)
    small = fit.small_us + fit.peer_us * (p - 1) + (p - 1) * beta_us / fit.eff_small
    return np.minimum(small, fit.bulk_us + 2 * (p - 1) / p * beta_us / fit.eff_bulk)


def exchange_us(p: Vector, n_bytes: Vector, plate: Nameplate, fit: Collective) -> Vector:
    """Time of an all-to-all in which each chip holds n bytes."""
    return fit.exchange_us + (p - 1) / p * n_bytes / (plate.link_gbps * 1e3 * fit.eff_exchange)


def fit_product(device: str, format_: str, plate: Nameplate) -> Product:
    """The fit again, from the measured points; needs SciPy, which comes with JAX."""
    from scipy.optimize import least_squares

    lines = lines_of(device, format_)

    def off(x: Vector) -> Vector:
        fit = Product(*(float(value) for value in x))
        return np.concatenate([
            np.log(product_us(m, n, k, plate, format_, fit) / t) for m, n, k, t in lines
        ])  # fmt: skip

    made = least_squares(
        off, [0.7, 0.7, 4.0], bounds=([0.05, 0.05, 0], [1, 1, 40]), loss="soft_l1", f_scale=0.1
    )
    return Product(*(float(value) for value in made.x))


def fit_collective(device: str, plate: Nameplate) -> Collective:
    """The fit again, from the measured points."""
    from scipy.optimize import least_squares

    p, n, t = points_of(measured.ALL_REDUCE, measured.ALL_REDUCE_BYTES, device)
    p2, n2, t2 = points_of(measured.EXCHANGE, measured.EXCHANGE_BYTES, device)

    def off(x: Vector) -> Vector:
        fit = Collective(*(float(value) for value in x))
        return np.concatenate([
            np.log(all_reduce_us(p, n, plate, fit) / t),
            np.log(exchange_us(p2, n2, plate, fit) / t2),
        ])  # fmt: skip

    low, high = [0, 0, 0.05, 0, 0.05, 0, 0.05], [20, 5, 1, 100, 1, 60, 1]
    start = [3, 0.1, 0.7, 20, 0.8, 10, 0.5]
    made = least_squares(off, start, bounds=(low, high), loss="soft_l1", f_scale=0.1)
    return Collective(*(float(value) for value in made.x))


def lines_of(device: str, format_: str) -> list[tuple[Vector, int, int, Vector]]:
    rows = np.array(measured.ROWS, dtype=float)
    return [
        (rows, n, k, np.array(times))
        for (name, kind, n, k), times in measured.PRODUCTS.items()
        if (name, kind) == (device, format_)
    ]


def points_of(
    table: dict[tuple[str, int], tuple[float, ...]], sizes: tuple[int, ...], device: str
) -> tuple[Vector, Vector, Vector]:
    p, n, t = [], [], []
    for (name, chips), times in table.items():
        if name == device:
            p += [float(chips)] * len(sizes)
            n += [float(size) for size in sizes]
            t += times
    return np.array(p), np.array(n), np.array(t)
