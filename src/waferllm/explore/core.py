"""The whole evaluation as one pure function over arrays of designs: time, power, money and carbon.

`evaluate(xp, d, m, w, s)` takes NumPy or jax.numpy as `xp`: the same lines answer one question without
JAX, and a million under `jit`, `vmap` and `grad`. `d` holds the numbers of a system, `m` of a model, `w`
of a workload, `s` of a sharding; every entry is a float or an array, all of which broadcast.

A system of N chips holds dp replicas of tp x pp x cp chips. In the steady state of continuous batching a
replica takes r requests a second: r (t_prefill + output x t_step / batch) = 1. With disaggregation
(`prefill_chips` > 0) two pools work side by side, and the slower one sets r.
"""

from types import ModuleType
from typing import Any

from waferllm.explore.economics import HOURS_PER_YEAR, dynamic_j, economics
from waferllm.explore.passes import CAUSES, Pass, peak_flops, run_pass, slowest, tier_seconds
from waferllm.explore.placing import (
    GB,
    MB,
    TIERS,
    US,
    bandwidth_bytes_per_s,
    capacity_bytes,
    main_memory,
    over,
    place,
)

Array = Any
Numbers = dict[str, Any]
ENCODER_BYTES = 2.0
#: Short prompts share a pass up to so many tokens (assumed: an engine's usual budget of one step).
TOKENS_TOGETHER = 2048.0


def evaluate(
    xp: ModuleType, d: Numbers, m: Numbers, w: Numbers, s: Numbers
) -> dict[str, dict[str, Array]]:
    """All figures of all designs, in s, bytes, W, USD, g and J; NaN where an input is not published.

    Returns groups of arrays: `figures`, `alone` (a token without prompts between), `decode_s` and
    `prefill_s` (by cause, of one step and of one pass of prompts), `work` (operations and bytes of one chip
    in both, as if one stage held all layers), `held` (bytes by memory), `cost`, `carbon`, `power`,
    `flash`, and `fits` (bytes without a place).
    """
    s = {**s, "kv_cut": xp.minimum(s["tp"], m["kv_shards"])}
    held = _held(xp, d, m, w, s)
    shares = _shares(xp, d, held)
    step = run_pass(xp, d, m, s, shares, _step(xp, m, w, s))
    prompt = _prompt_pass(xp, d, m, w, s, shares)
    timed = _timed(xp, d, m, w, s, step, prompt, _retrieved_s(xp, d, w, held["store"]))
    each = {**prompt, **_of_one_prompt(prompt, prompts_together(xp, w, s))}
    money = economics(xp, d, m, w, s, step, each, timed, held)
    homeless = held["homeless"]
    return {
        "figures": {
            "ttft_s": timed["ttft_s"],
            "tpot_s": timed["tpot_s"],
            "user_tokens_per_s": 1 / timed["tpot_s"],
            "system_tokens_per_s": timed["requests_per_s"] * w["output"],
            **money["figures"],
        },
        "alone": {"token_s": timed["token_s"]},
        "decode_s": timed["decode_s"],
        "prefill_s": timed["prefill_s"],
        "cost": money["cost"],
        "carbon": money["carbon"],
        "power": money["power"],
        "flash": money["flash"],
        "work": _work(step, prompt),
        "held": {f"weights_{t}": held["weights"][t] for t in TIERS}
        | {f"kv_{t}": held["kv"][t] for t in TIERS}
        | {f"waiting_{t}": held["waiting"][t] for t in ("hbm", "ddr")}
        | {f"store_{t}": held["store"][t] for t in ("ddr", "hbf", "away")},
        "fits": {"weights_bytes": homeless["weights"], "kv_bytes": homeless["kv"]},
    }


def _work(step: dict[str, Any], prompt: dict[str, Any]) -> dict[str, Array]:
    made = {}
    for phase, done in (("decode", step), ("prefill", prompt)):
        made |= {f"{phase}_flops": done["flops"], f"{phase}_bytes": sum(done["bytes"].values())}
    return made


def _held(xp: ModuleType, d: Numbers, m: Numbers, w: Numbers, s: Numbers) -> dict[str, Any]:
    """Bytes of one chip by memory, of the fullest stage and at the end of every answer.

    The first stage of a pipeline holds the embedding and an image encoder, the last the output matrix.
    """
    stage = stage_share(xp, m, s)
    shards = xp.where(s["ep"] > 1, s["ep"], s["tp"])
    own_experts = xp.where(s["ep"] > 1, xp.ceil(m["experts"] / s["ep"]), m["experts"] / shards)
    routed = m["moe_layers"] * m["expert_params"] * m["expert_bytes_per_param"]
    first = m["table_bytes"] - m["head_bytes"] + ENCODER_BYTES * w["encoder_params"]
    tables = xp.where(
        s["pp"] > 1, xp.maximum(first, m["head_bytes"]), first + m["head_bytes"]
    )  # fmt: skip
    weights = (m["dense_bytes"] / s["tp"] + own_experts * routed) * stage + tables / s["tp"]
    each = stage / s["kv_cut"] / s["cp"] * m["kv_layer_bytes"]
    full, windowed = m["layers"] - m["windowed_layers"], m["windowed_layers"]
    cached, fresh = w["cached"], w["prompt"] + w["output"]
    fresh = xp.where(w["steps"] > 0, 0.0, fresh)
    own = s["batch"] * (full * fresh + windowed * xp.minimum(fresh + cached, m["window"]))
    kept = full * cached * xp.where(w["shared"] > 0, 1.0, s["batch"])
    live = each * (own + kept * (1 - w["frozen"]))
    frozen = each * kept * w["frozen"]
    waiting = w["waiting"] * each * (own + xp.where(w["shared"] > 0, 0.0, kept))
    return place(
        xp, d, weights=weights, live=live, frozen=frozen, waiting=waiting,
        store=w["store_gb"] * GB / d["chip.count"], cool=s["cool_flash"],
    )  # fmt: skip


def stage_share(xp: ModuleType, m: Numbers, s: Numbers) -> Array:
    """Share of all layers in the fullest pipeline stage."""
    return xp.ceil(m["layers"] / s["pp"] - 1e-6) / m["layers"]


def _shares(xp: ModuleType, d: Numbers, held: dict[str, Any]) -> dict[str, dict[str, Array]]:
    """By memory, of what found a place; what did not is counted as if the main memory held it."""
    main = main_memory(xp, d)

    def of(kind: str) -> dict[str, Array]:
        parts = {tier: held[kind][tier] + main[tier] * held["homeless"][kind] for tier in TIERS}
        total = sum(parts.values())
        return {tier: over(xp, parts[tier], total) for tier in TIERS}

    return {"weights": of("weights"), "kv": of("kv")}


def _step(xp: ModuleType, m: Numbers, w: Numbers, s: Numbers) -> Pass:
    """One decode step of one microbatch; requests are on average half way through their answer."""
    requests = xp.maximum(s["batch"] / s["pp"], 1.0)
    context = w["cached"] + w["prompt"] + w["output"] / 2
    near = xp.minimum(context, m["window"])
    cached = w["cached"] * xp.where(w["shared"] > 0, 1.0, requests)
    return Pass(
        tokens=requests, head_tokens=requests,
        pairs_full=requests * context, pairs_windowed=requests * near,
        kv_full=requests * (context - w["cached"]) + cached, kv_windowed=requests * near,
        score_flops=m["score_flops_decode"],
    )  # fmt: skip


def _prompt_pass(
    xp: ModuleType, d: Numbers, m: Numbers, w: Numbers, s: Numbers, shares: dict[str, Any]
) -> dict[str, Any]:
    """A pass of prompts; of a diffusion model every denoising pass of a batch, all tokens seeing all."""
    diffuses = w["steps"] > 0
    together = prompts_together(xp, w, s)
    fresh = w["prompt"] + xp.where(diffuses, w["output"], 0.0)
    seen = w["cached"] + xp.where(diffuses, fresh, fresh / 2)
    tokens, kept = together * fresh, together * (w["cached"] + fresh)
    made = run_pass(
        xp, d, m, s, shares,
        Pass(
            tokens=tokens, head_tokens=xp.where(diffuses, together * w["output"], together),
            pairs_full=tokens * seen, pairs_windowed=tokens * xp.minimum(seen, m["window"]),
            kv_full=kept, kv_windowed=xp.minimum(kept, together * m["window"]),
            score_flops=m["score_flops_prefill"],
        ),
    )  # fmt: skip
    times, encoder = xp.maximum(w["steps"], 1.0), _encoder(xp, d, w, s, shares, together)
    causes = {name: times * value + encoder["causes"].get(name, 0.0)
              for name, value in made["causes"].items()}  # fmt: skip
    scaled = {key: times * made[key] for key in ("near_bytes", "flops", "link_bytes", "net_bytes")}
    scaled["flops"] = scaled["flops"] + encoder["flops"]
    tiers = {tier: times * value + encoder["bytes"][tier] for tier, value in made["bytes"].items()}
    return {**made, **scaled, "bytes": tiers, "causes": causes, "seconds": sum(causes.values())}


def _of_one_prompt(made: dict[str, Any], together: Array) -> dict[str, Any]:
    """A prompt's part of what its pass computes, reads and sends."""
    shared = ("near_bytes", "flops", "link_bytes", "net_bytes")
    tiers = {tier: value / together for tier, value in made["bytes"].items()}
    return {"bytes": tiers, **{key: made[key] / together for key in shared}}


def prompts_together(xp: ModuleType, w: Numbers, s: Numbers) -> Array:
    """Prompts of one pass: as many as make it worth its weights, of those in flight.

    A diffusion model's pass takes its whole microbatch, prompts and answers.
    """
    worth = xp.minimum(s["batch"], xp.floor(TOKENS_TOGETHER / w["prompt"]))
    all_in_flight = s["batch"] / s["pp"]
    return xp.maximum(xp.where(w["steps"] > 0, all_in_flight, worth), 1.0)


def _encoder(
    xp: ModuleType,
    d: Numbers,
    w: Numbers,
    s: Numbers,
    shares: dict[str, Any],
    together: Array,
) -> dict[str, Any]:
    """An image encoder in 16 bits, once a pass: its weights are read, its tokens computed."""
    held = ENCODER_BYTES * w["encoder_params"] / s["tp"]
    moved = {tier: shares["weights"][tier] * held for tier in TIERS}
    flops = 2 * w["encoder_params"] * w["encoder_tokens"] * together / s["tp"] / s["cp"]
    reach = d["chip.tflops_16"] * d["chip.gemm_eff_16"] * 1e12
    seconds = tier_seconds(xp, d, moved, d["hbm.eff_16"])
    _, causes = slowest(xp, {"compute": flops / reach, **seconds})
    return {"causes": causes, "bytes": moved, "flops": flops}


def _throttled(xp: ModuleType, d: Numbers, made: dict[str, Any], m: Numbers) -> Array:
    """Seconds that a pass takes longer because its power is more than the cooling carries off."""
    static = d["chip.static_share"] * d["chip.tdp_w"]
    room = xp.maximum(d["chip.thermal_w"] - static, 1e-3 * d["chip.thermal_w"])
    # of a whole model's pass as if one stage held it: both energy and time are that stage's times pp
    slow = dynamic_j(xp, d, m, made) / room - made["seconds"]
    return xp.where(xp.isnan(slow), 0.0, xp.maximum(slow, 0.0))


def _timed(
    xp: ModuleType,
    d: Numbers,
    m: Numbers,
    w: Numbers,
    s: Numbers,
    step: dict[str, Any],
    prompt: dict[str, Any],
    retrieved_s: Array,
) -> dict[str, Any]:
    """Seconds of a token and of a prompt, and requests per second of the whole system.

    TTFT is that of an idle queue: a prompt waits for the step that runs, not for other prompts.
    """  # fmt: skip
    diffuses = w["steps"] > 0
    decode = {**step["causes"], "power": _throttled(xp, d, step, m)}
    decode = {name: xp.where(diffuses, 0.0, value) for name, value in decode.items()}
    prefill = {**prompt["causes"], "power": _throttled(xp, d, prompt, m)}
    stage, together = stage_share(xp, m, s), prompts_together(xp, w, s)
    step_s, prompt_s = sum(decode.values()), sum(prefill.values())
    hop = _stage_hop_s(xp, d, m, s, xp.maximum(s["batch"] / s["pp"], 1.0) / s["cp"])
    hop = xp.where(diffuses, 0.0, hop)
    prompt_hop = _stage_hop_s(xp, d, m, s, together * w["prompt"] / s["cp"])
    token_s = s["pp"] * (step_s * stage + hop)
    busy_s = (prompt_s * stage + prompt_hop) / together
    blocked_s = s["batch"] * busy_s / w["output"]
    apart = s["prefill_chips"] > 0
    wait_s = xp.where(apart, _kv_move_s(xp, d, m, w, s), token_s) + retrieved_s
    ttft_s = prompt_s + (s["pp"] - 1) * prompt_hop + wait_s
    whole_s = ttft_s / w["output"]
    return {
        "token_s": xp.where(diffuses, whole_s, token_s),
        "ttft_s": ttft_s,
        "tpot_s": xp.where(diffuses, whole_s, token_s + xp.where(apart, 0.0, blocked_s)),
        "requests_per_s": _requests_per_s(xp, d, w, s, token_s, busy_s),
        "decode_s": decode | {"network": decode["network"] + s["pp"] * hop},
        "prefill_s": prefill | {"network": prefill["network"] + (s["pp"] - 1) * prompt_hop},
    }


def _requests_per_s(
    xp: ModuleType, d: Numbers, w: Numbers, s: Numbers, token_s: Array, busy_s: Array
) -> Array:
    """Of the whole system: replicas that do both phases in turns, or the slower of two pools."""
    replica = s["tp"] * s["pp"] * s["cp"]
    alone = s["dp"] / (busy_s + w["output"] * token_s / s["batch"])
    prompts = s["prefill_chips"] / replica / busy_s
    answers = s["dp"] * s["batch"] / xp.maximum(w["output"] * token_s, 1e-30)
    both = xp.where(s["prefill_chips"] > 0, xp.minimum(prompts, answers), alone)
    # experts that lie apart stop with any of their chips
    return both * availability(xp, d, xp.maximum(replica, s["ep"] * s["pp"]))


def availability(xp: ModuleType, d: Numbers, replica: Array) -> Array:
    """Share of time in which a replica works: any chip that fails stops it, a spare takes its place.

    Without a spare the replica waits for the repair; failures are taken as rare and independent.
    """
    hours = xp.where(d["chip.spares"] > 0, d["tail.swap_minutes"] / 60, d["tail.repair_hours"])
    down = replica * d["tail.failures_per_year"] * hours / HOURS_PER_YEAR
    return 1 / (1 + down)


def _retrieved_s(xp: ModuleType, d: Numbers, w: Numbers, store: dict[str, Array]) -> Array:
    """What a request reads of its context store, from the memories of one chip that hold it."""
    speed = bandwidth_bytes_per_s(xp, d)
    rates = {"hbf": speed["hbf"], "ddr": speed["ddr"], "away": d["net.gbps"] * GB * d["net.eff"]}
    waits = {"hbf": d["hbf.latency_us"], "ddr": 0.0, "away": d["net.latency_us"]}
    total = sum(store.values())
    read = w["retrieved_mb"] * MB
    # nothing kept here: what is read comes over the network
    parts = {"hbf": over(xp, store["hbf"], total), "ddr": over(xp, store["ddr"], total)}
    parts["away"] = 1 - parts["hbf"] - parts["ddr"]
    return sum(
        over(xp, parts[t] * read, rates[t]) + xp.where(parts[t] * read > 0, waits[t], 0.0) * US
        for t in rates
    )


def _stage_hop_s(xp: ModuleType, d: Numbers, m: Numbers, s: Numbers, tokens: Array) -> Array:
    """From a pipeline stage to the next: over a link where the pipeline fits a domain, else the network."""
    sent = tokens * m["hidden"] * 2.0 / s["tp"]
    inside = s["tp"] * s["pp"] * s["cp"] <= d["link.size"]
    link = (d["link.latency_us"] + d["link.software_us"]) * US + sent / (d["link.gbps"] * GB)
    net = d["net.latency_us"] * US + sent / (d["net.gbps"] * GB * d["net.eff"])
    return xp.where(s["pp"] > 1, xp.where(inside, link, net), 0.0)


def _kv_move_s(xp: ModuleType, d: Numbers, m: Numbers, w: Numbers, s: Numbers) -> Array:
    """A prompt's KV goes from the prefill pool to the decode pool, every chip sending its part."""
    full = m["layers"] - m["windowed_layers"]
    layers = full * w["prompt"] + m["windowed_layers"] * xp.minimum(w["prompt"], m["window"])
    part = layers * m["kv_layer_bytes"] / (s["kv_cut"] * s["cp"] * s["pp"])
    inside = s["tp"] * s["pp"] * s["cp"] * s["dp"] + s["prefill_chips"] <= d["link.size"]
    link = d["link.latency_us"] * US + part / (d["link.gbps"] * GB)
    net = d["net.latency_us"] * US + part / (d["net.gbps"] * GB * d["net.eff"])
    return xp.where(s["prefill_chips"] > 0, xp.where(inside, link, net), 0.0)


def floor_s(xp: ModuleType, d: Numbers, m: Numbers, w: Numbers, s: Numbers) -> dict[str, Array]:
    """No token and no prompt can take less: bytes over all bandwidth, operations over all peak.

    Counts only weights that every pass reads, and the cache, against nameplate figures of all memories
    of a replica, experts against those of all chips that they lie on (near-memory gain included);
    independent of placement, collectives and efficiencies.
    """
    replica = s["tp"] * s["pp"] * s["cp"]
    wide = xp.maximum(replica, s["ep"] * s["pp"])
    speed = bandwidth_bytes_per_s(xp, d)
    gain = xp.maximum(d["pnm.gain"], 1.0)
    bytes_per_s = speed["sram"] + gain * (speed["hbm"] + speed["ddr"]) + speed["hbf"]
    flops_per_s = peak_flops(xp, d, m)[1] + d["pnm.tflops"] * 1e12
    context = w["cached"] + w["prompt"] + w["output"] / 2
    layers = m["layers"] - m["windowed_layers"]
    kv = layers * context + m["windowed_layers"] * xp.minimum(context, m["window"])
    drawn = m["moe_layers"] * m["experts_per_token"] * m["expert_params"]

    def floor(tokens: Array, cache_bytes: Array) -> Array:
        """Of one pass: the longest of four things that none can do without."""
        dense = m["dense_bytes"] + m["head_bytes"] + cache_bytes
        read = dense / replica + drawn * m["expert_bytes_per_param"] / wide
        done = 2 * tokens * (m["dense_params"] / replica + drawn / wide)
        return xp.maximum(read / bytes_per_s, done / flops_per_s)

    step = floor(1.0, xp.minimum(s["batch"], 1.0) * kv * m["kv_layer_bytes"])
    prompt = xp.maximum(w["steps"], 1.0) * floor(w["prompt"], 0.0)
    most = s["dp"] * xp.minimum(
        replica * flops_per_s / (2 * (m["dense_params"] + drawn)), s["batch"] / step
    )
    return {
        "tpot_s": xp.where(w["steps"] > 0, prompt / w["output"], step),
        "ttft_s": prompt,
        "tokens_per_s_most": most,
    }


__all__ = ["CAUSES", "capacity_bytes", "evaluate", "floor_s"]
