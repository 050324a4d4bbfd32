"""The algorithms, as functions of one core's arrays."""

from waferllm.kernels.gemm import allgather_gemm, cannon, dist_gemm_t, mesh_gemm, summa
from waferllm.kernels.gemv import mesh_gemv, pipeline_gemv, ring_gemv

__all__ = [
    "allgather_gemm", "cannon", "dist_gemm_t", "mesh_gemm", "mesh_gemv", "pipeline_gemv",
    "ring_gemv", "summa",
]  # fmt: skip
