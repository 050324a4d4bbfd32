"""One function, two ways to run it: cores simulated in one process, and one JAX device per core.

Twelve devices are made of this machine's CPU; the flag must stand before JAX starts.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=12"

import jax
import numpy as np

import waferllm as w

rng = np.random.default_rng(0)
a = rng.standard_normal((31, 26), dtype=np.float32)  # neither side tiles the mesh: padded, cropped
b = rng.standard_normal((26, 45), dtype=np.float32)

p = w.Program(w.kernels.mesh_gemm, mesh=(3, 4), shapes=[a.shape, b.shape])
simulated = np.asarray(w.run(p, a, b))

mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(3, 4), ("y", "x"))
on_devices = np.asarray(w.run(p, a, b, devices=mesh))

print(
    f"{p} on {mesh.size} devices: {len(on_devices)} rows, {np.sum(simulated != on_devices)} differ"
)
assert np.array_equal(simulated, on_devices)  # bit for bit
assert np.allclose(simulated, a @ b, atol=1e-4)
