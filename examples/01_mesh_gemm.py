"""A matrix product on sixteen simulated cores: the first screen of the README, as written."""

import numpy as np

import waferllm as w

rng = np.random.default_rng(0)
a, b = rng.standard_normal((2, 256, 256), dtype=np.float32)

p = w.Program(w.kernels.mesh_gemm, mesh=(4, 4), shapes=[(256, 256), (256, 256)])
c = w.run(p, a, b)  # sixteen simulated cores
print(w.cost(p, w.WSE2))  # what PLMR predicts, and whether it complies

error = np.max(np.abs(c - a @ b)) / np.max(np.abs(a @ b))
print(f"\nlargest difference from NumPy's product, relative (computed here): {error:.1e}")
assert error < 1e-5
