"""Models and workloads as plain numbers, as the evaluation takes them."""

from waferllm.chip.facts import nearest
from waferllm.errors import InputError
from waferllm.explore.shapes import BITS, Shape
from waferllm.explore.workloads import Workload

#: The width of arithmetic for a weight format; formats that only weights have are unpacked to 16 bits.
COMPUTE_BITS = {"bf16": 16, "fp8": 8, "int8": 8, "fp4": 4, "mxfp4": 16, "int4": 16}
KV_BYTES = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0}
TABLE_BYTES = 2.0


def formats(shape: Shape, workload: Workload) -> tuple[str, str, str]:
    """Formats of dense weights, experts and KV: the workload's, else the model's own.

    Raises InputError with the nearest name for an unknown one.
    """
    for name, known in ((workload.dtype, BITS), (workload.kv_dtype, KV_BYTES)):
        if name and name not in known:
            raise InputError(f"Unknown data type {name!r}. {nearest(name, known)}")
    dtype = workload.dtype or shape.dtype
    expert_dtype = workload.dtype or shape.expert_dtype
    return dtype, expert_dtype, workload.kv_dtype or "bf16"


def model_numbers(shape: Shape, workload: Workload) -> dict[str, float]:
    """The model's numbers in the formats of a workload. Tables of tokens stay in 16 bits."""
    dtype, expert_dtype, kv_dtype = formats(shape, workload)
    width = COMPUTE_BITS[dtype]
    head = TABLE_BYTES * shape.head_params
    made = {
        "layers": shape.layers,
        "hidden": shape.hidden,
        "dense_params": shape.dense_params,
        "head_params": shape.head_params,
        "expert_params": shape.expert_params,
        "experts": shape.experts,
        "experts_per_token": shape.experts_per_token,
        "moe_layers": shape.moe_layers,
        "dense_bytes": shape.dense_params * BITS[dtype] / 8,
        "head_bytes": head,
        "table_bytes": head + TABLE_BYTES * shape.embed_params,
        "expert_bytes_per_param": BITS[expert_dtype] / 8,
        "stored_bytes": shape.stored_bytes(dtype, expert_dtype),
        "kv_elements": shape.kv_elements,
        "kv_layer_bytes": shape.kv_elements * KV_BYTES[kv_dtype],
        "kv_shards": shape.kv_shards,
        "score_flops_decode": shape.score_flops_decode,
        "score_flops_prefill": shape.score_flops_prefill,
        "windowed_layers": shape.windowed_layers,
        "window": shape.window,
        "kernels": shape.kernels,
        "products": shape.products,
        "in_16": width == 16,
        "in_8": width == 8,
        "in_4": width == 4,
    }
    return {key: float(value) for key, value in made.items()}


def workload_numbers(workload: Workload) -> dict[str, float]:
    """The workload's numbers."""
    made = {
        "prompt": workload.prompt_tokens,
        "output": workload.output_tokens,
        "cached": workload.cached_tokens,
        "frozen": workload.frozen_cache,
        "shared": workload.shared_cache,
        "waiting": workload.waiting_sessions,
        "encoder_params": workload.encoder_params,
        "encoder_tokens": workload.encoder_tokens,
        "steps": workload.denoise_steps,
        "store_gb": workload.store_gb,
        "store_days": workload.store_turnover_days,
        "retrieved_mb": workload.retrieved_mb,
        "updates_per_year": workload.weight_updates_per_year,
    }
    return {key: float(value) for key, value in made.items()}
