"""Sixteen host devices for the whole session: `shard_map` then has a device for each core of a 5x3 mesh.

XLA reads the flag when its first backend starts, so it is set before any test imports JAX.
"""

import os

import hypothesis

os.environ["XLA_FLAGS"] = " ".join(
    [*os.environ.get("XLA_FLAGS", "").split(), "--xla_force_host_platform_device_count=16"]
)

# Two slow cores, shared: a deadline measures the neighbours. Derandomised, so that a failure repeats.
hypothesis.settings.register_profile("waferllm", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("waferllm")
