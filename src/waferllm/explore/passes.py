"""Time and energy of one pass of a batch of tokens through all layers of a model on its chips.

A pass is a sum of groups that follow each other: dense products, expert products, attention,
collectives, fixed times. Within a group the slowest of compute and the memories sets the time, as on a
roofline. All functions take the array module `xp` (NumPy or jax.numpy) and arrays of designs; `d` holds
the numbers of a system (`numbers.FIELDS`), `m` those of a model, `s` those of a sharding.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from waferllm.explore.collectives import (
    all_reduce_two_level_s,
    dispatched_bytes,
    exchange_two_level_s,
    exchanged_bytes,
    reduced_bytes,
)
from waferllm.explore.placing import GB, TIERS, US, bandwidth_bytes_per_s, main_memory, over

Array = Any
Numbers = dict[str, Any]
ACTIVATION_BYTES = 2.0
CAUSES = ("compute", *TIERS, "link", "network", "latency")


@dataclass
class Pass:
    """What a pass moves in one replica: tokens through weights, queries x keys, cache tokens read."""

    tokens: Array
    head_tokens: Array
    pairs_full: Array
    pairs_windowed: Array
    kv_full: Array
    kv_windowed: Array
    score_flops: Array


def peak_flops(xp: ModuleType, d: Numbers, m: Numbers) -> tuple[Array, Array]:
    """Reachable and nameplate operations per second of one chip in the model's compute format.

    A chip without 8-bit (or 4-bit) units unpacks to the next wider format.
    """
    reach_16, full_16 = d["chip.tflops_16"] * d["chip.gemm_eff_16"], d["chip.tflops_16"]
    has_8 = d["chip.tflops_8"] > 0
    reach_8 = xp.where(has_8, d["chip.tflops_8"] * d["chip.gemm_eff_8"], reach_16)
    full_8 = xp.where(has_8, d["chip.tflops_8"], full_16)
    has_4 = d["chip.tflops_4"] > 0
    reach_4 = xp.where(has_4, d["chip.tflops_4"] * d["chip.gemm_eff_4"], reach_8)
    full_4 = xp.where(has_4, d["chip.tflops_4"], full_8)
    reach = m["in_16"] * reach_16 + m["in_8"] * reach_8 + m["in_4"] * reach_4
    full = m["in_16"] * full_16 + m["in_8"] * full_8 + m["in_4"] * full_4
    return reach * 1e12, full * 1e12


def attention_flops(d: Numbers) -> Array:
    """Reachable operations per second of scores, in 16 bits whatever the cache is kept in.

    An 8-bit cache shortens a prompt of 20,000 tokens by 3 % on an H100 (`measured.EIGHT_AT_ONCE`), where
    scores at twice the rate would by 9 %.
    """
    return d["chip.tflops_16"] * d["chip.gemm_eff_16"] * 1e12


def memory_eff(d: Numbers, m: Numbers) -> Array:
    """Reachable share of the bandwidth of DRAM stacks for the model's weight format."""
    return m["in_16"] * d["hbm.eff_16"] + m["in_8"] * d["hbm.eff_8"] + m["in_4"] * d["hbm.eff_4"]


def slowest(xp: ModuleType, seconds: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """The largest of some times, and the same time under the name that caused it."""
    total = None
    for value in seconds.values():
        total = value if total is None else xp.maximum(total, value)
    causes, taken = {}, xp.zeros((), dtype=bool)
    for name, value in seconds.items():
        is_it = (value >= total) & ~taken
        causes[name] = xp.where(is_it, total, 0.0)
        taken = taken | is_it
    return total, causes


def tier_seconds(
    xp: ModuleType, d: Numbers, bytes_by_tier: dict[str, Array], hbm_eff: Array
) -> dict[str, Array]:
    """Seconds in which each memory gives its bytes; memories work side by side."""
    speed = bandwidth_bytes_per_s(xp, d)
    eff = {"sram": hbm_eff, "hbm": hbm_eff, "ddr": d["ddr.eff"], "hbf": hbm_eff}
    return {tier: over(xp, bytes_by_tier[tier], speed[tier] * eff[tier]) for tier in TIERS}


def near_memory(
    xp: ModuleType,
    d: Numbers,
    seconds: dict[str, Array],
    bytes_read: Array,
    flops: Array,
    vectors_bytes: Array,
    groups: Array,
) -> tuple[dict[str, Array], Array]:
    """The same group done near or in DRAM: seconds by memory, and of its compute.

    Operands are cut into shards of `pnm.shard_gb`; in a two-dimensional cut of `c` shards for each of
    `groups` operands, vectors of `vectors_bytes` cross the normal bus sqrt(c) times.
    """  # fmt: skip
    gain = xp.maximum(d["pnm.gain"], 1.0)
    shards = xp.maximum(bytes_read / xp.maximum(groups, 1.0) / (d["pnm.shard_gb"] * GB), 1.0)
    bus = d["hbm.stacks"] * d["hbm.gbps"] + d["ddr.devices"] * d["ddr.gbps"]
    crossing = over(xp, vectors_bytes * xp.sqrt(shards), bus * GB)
    compute = over(xp, flops, d["pnm.tflops"] * 1e12)
    near = {
        tier: value / gain + (crossing if tier == "hbm" else 0.0)
        if tier in ("hbm", "ddr") else value
        for tier, value in seconds.items()
    }  # fmt: skip
    return near, compute


def group(
    xp: ModuleType,
    d: Numbers,
    bytes_by_tier: dict[str, Array],
    flops: Array,
    hbm_eff: Array,
    vectors_bytes: Array,
    operands: Array,
    reach: Array,
) -> tuple[Array, dict[str, Array], Array]:
    """Seconds of products or of attention, by cause, and the share of DRAM bytes read near memory."""
    seconds = tier_seconds(xp, d, bytes_by_tier, hbm_eff)
    total, causes = slowest(xp, {"compute": flops / reach, **seconds})
    in_dram = bytes_by_tier["hbm"] + bytes_by_tier["ddr"]
    near, compute = near_memory(xp, d, seconds, in_dram, flops, vectors_bytes, operands)
    near_total, near_causes = slowest(xp, {"compute": compute, **near})
    better = (d["pnm.gain"] > 0) & (d["pnm.tflops"] > 0) & (near_total < total)
    chosen = {name: xp.where(better, near_causes[name], causes[name]) for name in causes}
    return xp.where(better, near_total, total), chosen, xp.where(better, 1.0, 0.0)


def touched_experts(xp: ModuleType, m: Numbers, s: Numbers, tokens: Array) -> Array:
    """Experts of one layer that one chip must read for the tokens of its expert group.

    Each token draws k of E experts; E (1 - (1 - k/E)^tokens) are drawn by any, of which the chip has its
    share, in whole experts under expert parallelism.
    """
    experts = xp.maximum(m["experts"], 1.0)
    drawn = 1 - (1 - m["experts_per_token"] / experts) ** tokens
    own = xp.where(s["ep"] > 1, xp.ceil(experts / s["ep"]), experts / s["tp"])
    return own * drawn


def own_tokens(xp: ModuleType, s: Numbers, tokens: Array) -> Array:
    """Tokens that one context-parallel rank passes through the weights: its part, at least one."""
    return xp.maximum(tokens / s["cp"], 1.0)


def expert_tokens(xp: ModuleType, s: Numbers, tokens: Array) -> Array:
    """Tokens that meet in one expert group, of all data- and context-parallel ranks in it."""
    mine = own_tokens(xp, s, tokens)
    return xp.where(s["ep"] > 1, mine * s["ep"] / s["tp"], mine)


def busiest(xp: ModuleType, m: Numbers, s: Numbers, tokens: Array) -> Array:
    """Load of the busiest chip over the mean under uniform routing: 1 + sqrt(2 ln ep / mean load)."""
    mean = xp.maximum(tokens * m["experts_per_token"] / xp.maximum(s["ep"], 1.0), 1e-6)
    peak = 1 + xp.sqrt(2 * xp.log(xp.maximum(s["ep"], 1.0)) / mean)
    # never more than all tokens on one chip
    return xp.where(s["ep"] > 1, xp.minimum(peak, xp.maximum(s["ep"], 1.0)), 1.0)


def _split(shares: dict[str, Array], amount: Array) -> dict[str, Array]:
    return {tier: shares[tier] * amount for tier in TIERS}


def run_pass(
    xp: ModuleType, d: Numbers, m: Numbers, s: Numbers, shares: dict[str, dict[str, Array]], p: Pass
) -> dict[str, Any]:
    """Seconds of a pass by cause (`CAUSES`), bytes by memory, operations and bytes sent, all per chip.

    Counts all layers as if one stage held them; a pipeline divides them among its stages.
    """
    reads, attended = _weights(xp, m, s, p), _attended(m, s, p)
    vectors = _vectors(xp, m, s, p, reads["drawn"])
    held = {
        "dense": _split(shares["weights"], reads["dense_bytes"]),
        "expert": _split(shares["weights"], reads["expert_bytes"]),
        "cache": _split(shares["kv"], attended["bytes"]),
    }
    in_flash = shares["weights"]["hbf"] > 0
    pages = (7 * m["layers"] + 3 * m["moe_layers"] * reads["touched"]) * d["hbf.page_bytes"]
    held["dense"]["hbf"] = held["dense"]["hbf"] + xp.where(in_flash, pages, 0.0)
    groups = _groups(xp, d, m, s, p, held, reads, attended, vectors)
    passing = _passing(xp, d, vectors["elementwise"], m["layers"])
    sent = _sent(xp, d, m, s, p)
    causes = {name: sum(made[1][name] for made in groups) for name in ("compute", *TIERS)}
    for tier, seconds in tier_seconds(xp, d, passing, d["hbm.eff_kv"]).items():
        causes[tier] = causes[tier] + seconds
    fixed_s = _fixed_us(xp, d, m, in_flash) * US
    causes |= {
        "link": sent["link_s"] - sent["link_fixed_s"],
        "network": sent["net_s"] - sent["net_fixed_s"],
        "latency": fixed_s + sent["link_fixed_s"] + sent["net_fixed_s"],
    }
    return {
        "causes": causes,
        "seconds": sum(causes.values()),
        "bytes": {t: sum(one[t] for one in held.values()) + passing[t] for t in TIERS},
        "near_bytes": sum(
            made[2] * (one["hbm"] + one["ddr"])
            for made, one in zip(groups, held.values(), strict=True)
        ),
        "flops": reads["dense_flops"] + reads["expert_flops"] + attended["flops"],
        "link_bytes": sent["link_bytes"],
        "net_bytes": sent["net_bytes"],
    }


def _groups(
    xp: ModuleType,
    d: Numbers,
    m: Numbers,
    s: Numbers,
    p: Pass,
    held: dict[str, dict[str, Array]],
    reads: dict[str, Array],
    attended: dict[str, Array],
    vectors: dict[str, Array],
) -> list[tuple[Array, dict[str, Array], Array]]:
    """Dense products, expert products and attention, each as `group` gives it."""
    reach, _ = peak_flops(xp, d, m)
    eff = memory_eff(d, m)
    expert_operands = xp.maximum(m["moe_layers"] * reads["touched"], 1.0)
    heads_bytes = p.tokens * m["hidden"] * 2 * ACTIVATION_BYTES * m["layers"] / s["tp"] / s["cp"]
    return [
        group(xp, d, held["dense"], reads["dense_flops"], eff, vectors["dense"], m["layers"], reach),
        group(xp, d, held["expert"], reads["expert_flops"], eff, vectors["expert"],
              expert_operands, reach),
        group(xp, d, held["cache"], attended["flops"], d["hbm.eff_kv"], heads_bytes,
              m["layers"] * xp.maximum(p.tokens, 1.0), attention_flops(d)),
    ]  # fmt: skip


def _fixed_us(xp: ModuleType, d: Numbers, m: Numbers, in_flash: Array) -> Array:
    """Microseconds of kernels and of the host, and of reads of flash that nothing can be ahead of.

    Dense weights are read ahead but for the first; which experts a layer takes, no earlier one knows.
    """
    narrow = m["in_8"] * d["chip.gemm_8_us"] + m["in_4"] * d["chip.gemm_4_us"]
    waits = 1 + xp.where(m["experts"] > 0, m["moe_layers"], 0.0)
    return (
        m["kernels"] * d["chip.kernel_us"]
        + d["chip.step_us"]
        + m["products"] * narrow
        + xp.where(in_flash, waits * d["hbf.latency_us"], 0.0)
    )


def _vectors(xp: ModuleType, m: Numbers, s: Numbers, p: Pass, drawn: Array) -> dict[str, Array]:
    """Bytes of activations of one chip: in and out of dense and expert products, and of what is between.

    A product of m x k by k x n has k and n of them a token, which sum to parameters / hidden and the
    hidden vector at one end. Norms pass the hidden vector four times (residual in and out, itself in
    and out), twice a layer; rotation and activation pass what the products gave and take.
    """  # fmt: skip
    tokens = own_tokens(xp, s, p.tokens) * ACTIVATION_BYTES
    shards = xp.where(s["ep"] > 1, s["ep"], s["tp"])
    drawn = drawn * m["moe_layers"] * ACTIVATION_BYTES / shards
    inner, expert_inner = m["dense_params"] / m["hidden"], m["expert_params"] / m["hidden"]
    return {
        "dense": tokens * (inner + 4 * m["layers"] * m["hidden"]) / s["tp"],
        "expert": drawn * (expert_inner + 2 * m["hidden"]),
        "elementwise": tokens * (inner / s["tp"] + 8 * m["layers"] * m["hidden"])
        + drawn * expert_inner,
    }


def _passing(xp: ModuleType, d: Numbers, moved: Array, layers: Array) -> dict[str, Array]:
    """Activations by memory: what of one layer's does not stay on the chip passes the main one."""
    out = xp.maximum(moved - layers * d["sram.gb"] * GB, 0.0)
    return {tier: share * out for tier, share in main_memory(xp, d).items()}


def _weights(xp: ModuleType, m: Numbers, s: Numbers, p: Pass) -> dict[str, Array]:
    """Bytes of weights that one chip reads for the pass, and operations on them."""
    tokens = own_tokens(xp, s, p.tokens)
    grouped = expert_tokens(xp, s, p.tokens)
    touched = touched_experts(xp, m, s, grouped)
    per_layer = m["moe_layers"] * m["expert_params"]
    shards = xp.where(s["ep"] > 1, s["ep"], s["tp"])
    drawn = grouped * m["experts_per_token"] * busiest(xp, m, s, grouped)
    return {
        "touched": touched,
        "drawn": drawn,
        "dense_bytes": (m["dense_bytes"] + m["head_bytes"]) / s["tp"],
        "dense_flops": 2 * (tokens * m["dense_params"] + own_tokens(xp, s, p.head_tokens) * m["head_params"])
        / s["tp"],
        "expert_bytes": touched * per_layer * m["expert_bytes_per_param"],
        "expert_flops": 2 * drawn * per_layer / shards,
    }  # fmt: skip


def _attended(m: Numbers, s: Numbers, p: Pass) -> dict[str, Array]:
    """Bytes of the cache that one chip reads for the pass, and operations on them."""
    full = m["layers"] - m["windowed_layers"]
    tokens = full * p.kv_full + m["windowed_layers"] * p.kv_windowed
    pairs = full * p.pairs_full + m["windowed_layers"] * p.pairs_windowed
    return {
        "bytes": tokens * m["kv_layer_bytes"] / s["kv_cut"] / s["cp"],
        "flops": pairs * p.score_flops / s["tp"] / s["cp"],
    }


def _sent(xp: ModuleType, d: Numbers, m: Numbers, s: Numbers, p: Pass) -> dict[str, Array]:
    """Seconds and bytes of collectives; `fixed` is what remains of them for messages of no length.

    Sums after attention and feed-forward layers; experts' vectors there (in the weights' format, 8 bits
    at least) and back (in 16 bits); with context parallelism, queries, keys and sums of attention.
    """
    tokens = own_tokens(xp, s, p.tokens)
    is_ep, is_cp = s["ep"] > 1, s["cp"] > 1
    ep = xp.maximum(s["ep"], 1.0)
    mixtures = xp.where(is_ep, m["moe_layers"], 0.0)
    vector = tokens * m["hidden"] * ACTIVATION_BYTES
    there = ACTIVATION_BYTES * m["in_16"] + 1.0 * (1 - m["in_16"])
    expert = vector / s["tp"] * (there + ACTIVATION_BYTES) / (2 * ACTIVATION_BYTES)
    around = tokens * (2 * m["hidden"] + m["kv_elements"]) * ACTIVATION_BYTES / s["tp"]
    wide = {**d, "link.size": xp.maximum(d["link.size"] / s["tp"], 1.0)}
    counts = (2 * m["layers"] - mixtures, 2 * mixtures, xp.where(is_cp, 2 * m["layers"], 0.0))
    routed = dispatched_bytes(xp, d, expert, m["experts_per_token"], ep)
    turned = exchanged_bytes(xp, wide, around, s["cp"])
    made: dict[str, Array] = {}
    for kind, scale in (("", 1.0), ("_fixed", 0.0)):
        each = (
            all_reduce_two_level_s(xp, d, scale * vector, s["tp"]),
            exchange_two_level_s(xp, d, scale * routed[0], scale * routed[1], ep),
            exchange_two_level_s(xp, wide, scale * turned[0], scale * turned[1], s["cp"]),
        )
        for n, name in enumerate(("link", "net")):
            made[f"{name}{kind}_s"] = sum(c * one[n] for c, one in zip(counts, each, strict=True))
    bytes_of = (reduced_bytes(xp, d, vector, s["tp"]), routed, turned)
    for n, name in enumerate(("link", "net")):
        made[f"{name}_bytes"] = sum(c * one[n] for c, one in zip(counts, bytes_of, strict=True))
    return made
