"""MeshGEMM 1024^3 in float32 on simulated cores, beside NumPy on the same machine."""

import jax.numpy as jnp
import numpy as np
from timing import best_of, verdict

from waferllm.kernels import mesh_gemm
from waferllm.program import Program, run

SIZE = 1024
BARS = {8: 0.0, 16: 0.30, 64: 0.12}


def main() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIZE, SIZE), dtype=np.float32) for _ in range(2))
    on_cores = jnp.asarray(a), jnp.asarray(b)
    for side, bar in BARS.items():
        program = Program(mesh_gemm, mesh=(side, side), shapes=[a.shape, b.shape])
        best = best_of(
            20, numpy=lambda: a @ b, mesh=lambda p=program: run(p, *on_cores).block_until_ready()
        )
        rate = 2 * SIZE**3 / best["mesh"] / 1e9
        label = f"MeshGEMM on {side}x{side} cores, {rate:.0f} GFLOP/s, vs NumPy"
        print(verdict(label, best["numpy"] / best["mesh"], bar))


if __name__ == "__main__":
    main()
