"""Times of passes on machines without overheads, against closed forms and a Monte Carlo of routing."""

import numpy as np
import pytest

from tests.explore.ideal import ask, ideal, point
from waferllm import explore
from waferllm.explore.core import availability
from waferllm.explore.passes import busiest, touched_experts
from waferllm.explore.systems import System

TB = 1e12
WEIGHTS, KV_TOKEN = 139.0e9, 327_680  # llama3-70b in bf16, of the facts
PARAMS = WEIGHTS / 2
SCORES = 4 * 80 * 64 * 128  # q.k and p.v of all layers and heads, two operations each


def _roomy(**changes: float) -> System:
    return ideal("h100x8", hbm__gb=1000, **changes)


@pytest.mark.parametrize(("tp", "batch"), [(1, 1), (4, 32), (8, 64)])
def test_a_decode_step_reads_weights_and_cache_once(tp: int, batch: int) -> None:
    made = ask(_roomy(link__gbps=1e12), point(), "llama3-70b", tp=tp, batch=batch)
    kv = batch * (1024 + 256) * KV_TOKEN
    expected = (WEIGHTS + kv) / tp / (3.35 * TB)
    assert sum(made["decode_s"].values()) == pytest.approx(expected, rel=1e-3)


def test_a_large_batch_computes_as_long_as_its_operations_take() -> None:
    made = ask(_roomy(hbm__gbps=1e9), point(), "llama3-70b", batch=1024)
    flops = 1024 * (2 * PARAMS + SCORES * (1024 + 256))
    assert sum(made["decode_s"].values()) == pytest.approx(flops / 989e12, rel=1e-3)


def test_a_long_prompt_computes_its_products_and_half_its_square() -> None:
    made = ask(_roomy(sram__gb=1e3), point(prompt=131_072), "llama3-70b")
    head = 2 * 128_256 * 8192  # only the last token is asked for its successor
    flops = 131_072 * (2 * PARAMS - head + SCORES * 131_072 / 2) + head
    assert made["figures"]["ttft_s"] - made["alone"]["token_s"] == pytest.approx(
        flops / 989e12, rel=1e-3
    )


def test_text_before_the_prompt_costs_attention_but_no_products() -> None:
    fresh = ask(_roomy(sram__gb=1e3), point(prompt=4096), "llama3-70b")["prefill_s"]["compute"]
    after = ask(_roomy(sram__gb=1e3), point(prompt=4096, cached_tokens=16384), "llama3-70b")
    more = after["prefill_s"]["compute"] - fresh
    assert more == pytest.approx(4096 * 16384 * SCORES / 989e12, rel=1e-6)


def test_a_pipeline_keeps_its_pace_once_every_stage_has_a_microbatch() -> None:
    one = ask(_roomy(), point(), "llama3-70b", pp=1, batch=16)
    four = ask(_roomy(), point(), "llama3-70b", pp=4, batch=64)
    empty = ask(_roomy(), point(), "llama3-70b", pp=4, batch=16)
    # a stage reads a quarter of the weights for 16 requests: 4 chips give 4 times the tokens
    assert four["alone"]["token_s"] == pytest.approx(one["alone"]["token_s"], rel=1e-3)
    # with 16 in flight a stage has 4: weights are read four times as often for each of them
    assert 64 / four["alone"]["token_s"] > 1.5 * 16 / empty["alone"]["token_s"]
    # one request in four stages waits for all of them: three are bubbles
    lonely = ask(_roomy(), point(), "llama3-70b", pp=4, batch=1)
    single = ask(_roomy(), point(), "llama3-70b", pp=1, batch=1)
    assert lonely["alone"]["token_s"] == pytest.approx(single["alone"]["token_s"], rel=1e-3)


def test_prompts_and_tokens_share_a_replica_and_its_time_adds_up() -> None:
    made = ask(_roomy(), point(prompt=2048), "llama3-70b", tp=8, batch=32)
    requests_per_s = made["figures"]["system_tokens_per_s"] / 512
    prompt_s = sum(made["prefill_s"].values())
    decode_s = 512 * sum(made["decode_s"].values()) / 32
    assert requests_per_s * (prompt_s + decode_s) == pytest.approx(1)
    # Little: 32 requests are in flight, each for 512 tokens
    assert requests_per_s * 512 * made["figures"]["tpot_s"] == pytest.approx(32)


def test_short_prompts_share_a_pass_and_long_ones_do_not() -> None:
    def seconds(prompt: float, batch: int) -> float:
        made = ask(_roomy(sram__gb=1e3), point(prompt=prompt), "llama3-70b", batch=batch)
        return sum(made["prefill_s"].values())

    # one prompt of 128 tokens waits for the weights, 16 of them together for their operations
    assert seconds(128, 1) == pytest.approx(WEIGHTS / (3.35 * TB), rel=0.02)
    head = 2 * 128_256 * 8192
    assert seconds(128, 16) == pytest.approx(2048 * (2 * PARAMS - head) / 989e12, rel=0.02)
    assert seconds(4096, 16) == pytest.approx(seconds(4096, 1))


def test_pools_apart_are_as_fast_as_the_slower() -> None:
    together = ask(_roomy(), point(prompt=2048), "llama3-70b", batch=32)
    apart = ask(_roomy(), point(prompt=2048), "llama3-70b", batch=32, dp=3, prefill_chips=5)
    prompts = 5 / sum(together["prefill_s"].values())
    answers = 3 * 32 / (512 * sum(together["decode_s"].values()))
    assert apart["figures"]["system_tokens_per_s"] == pytest.approx(512 * min(prompts, answers))
    # the prompt's KV crosses one link, and no prompt stands between two tokens
    moved_s = 2048 * KV_TOKEN / 450e9
    assert apart["figures"]["tpot_s"] == pytest.approx(apart["alone"]["token_s"])
    assert apart["figures"]["ttft_s"] == pytest.approx(
        sum(apart["prefill_s"].values()) + moved_s, rel=1e-6
    )


def test_context_parallel_chips_share_the_cache_and_read_all_weights() -> None:
    d = _roomy(link__gbps=1e12)
    made = ask(d, point(prompt=100_000), "llama3-70b", cp=4)
    kv = (100_000 + 256) * KV_TOKEN
    assert made["decode_s"]["hbm"] == pytest.approx((WEIGHTS + kv / 4) / (3.35 * TB), rel=1e-3)


def test_a_text_that_all_share_is_kept_and_read_once() -> None:
    work = point(cached_tokens=100_000)
    own, shared = (
        ask(_roomy(), work.with_(shared_cache=flag), "llama3-70b", batch=8)
        for flag in (False, True)
    )
    more = 7 * 100_000 * KV_TOKEN
    assert own["held"]["kv_hbm"] - shared["held"]["kv_hbm"] == pytest.approx(more)
    assert own["decode_s"]["hbm"] - shared["decode_s"]["hbm"] == pytest.approx(more / (3.35 * TB))
    # scores are computed for every request all the same
    assert own["work"]["decode_flops"] == pytest.approx(shared["work"]["decode_flops"])


def test_more_chips_than_heads_keep_copies_of_the_cache() -> None:
    eight = ask(_roomy(), point(), "llama3-70b", tp=8, batch=8)["held"]
    deep = ask(ideal("gb200-nvl72"), point(), "deepseek-v3", tp=8, batch=8)["held"]
    assert eight["kv_hbm"] == pytest.approx(8 * 1536 * KV_TOKEN / 8)
    assert deep["kv_hbm"] == pytest.approx(8 * 1536 * 2 * 576 * 61)  # latent: whole on every chip


@pytest.mark.parametrize(("tokens", "ep"), [(1, 1), (7, 1), (64, 8), (400, 16)])
def test_experts_touched_are_those_of_a_monte_carlo(tokens: int, ep: int) -> None:
    rng = np.random.default_rng(3)
    experts, k, trials = 128, 8, 400
    drawn = [
        len({e for _ in range(tokens) for e in rng.choice(experts, k, replace=False)})
        for _ in range(trials // max(tokens // 8, 1))
    ]
    m = {"experts": float(experts), "experts_per_token": float(k)}
    made = float(touched_experts(np, m, {"ep": float(ep), "tp": 1.0}, np.float64(tokens)))
    assert made == pytest.approx(np.mean(drawn) / ep, rel=0.02)


def test_the_busiest_chip_has_what_a_monte_carlo_gives_it() -> None:
    rng = np.random.default_rng(5)
    tokens, k, experts, ep = 2048, 8, 128, 16
    loads = []
    for _ in range(20):
        scores = rng.random((tokens, experts))
        chosen = np.argpartition(scores, k, axis=1)[:, :k]
        loads.append(np.bincount((chosen // (experts // ep)).ravel(), minlength=ep).max())
    mean = tokens * k / ep
    m = {"experts_per_token": float(k)}
    made = float(busiest(np, m, {"ep": float(ep)}, np.float64(tokens)))
    assert made == pytest.approx(np.mean(loads) / mean, rel=0.05)


def test_one_token_of_a_mixture_reads_its_active_experts_and_many_read_all() -> None:
    roomy = ideal("h100x8", hbm__gb=1e4)
    shape = explore.find_shape("mixtral-8x7b")
    work = point(prompt=1, output=1e-3)
    one = ask(roomy, work, "mixtral-8x7b")["decode_s"]["hbm"] * 3.35 * TB
    assert one == pytest.approx(2 * shape.active_parameters, rel=1e-3)
    all_weights = 2 * (shape.parameters - shape.embed_params)
    many = ask(roomy, work, "mixtral-8x7b", batch=256)["decode_s"]["hbm"] * 3.35 * TB
    assert many == pytest.approx(all_weights, rel=0.01)


def test_denoising_passes_prompt_and_answer_whole_every_step() -> None:
    work = point(prompt=1024, output=512, denoise_steps=64)
    made = ask(_roomy(sram__gb=1e3), work, "llama3-70b")
    head = 2 * 128_256 * 8192
    each = 1536 * (2 * PARAMS - head + SCORES * 1536) + 512 * head  # the answer alone is asked
    assert made["figures"]["ttft_s"] == pytest.approx(64 * each / 989e12, rel=1e-3)
    assert made["held"]["kv_hbm"] == 0
    four = ask(_roomy(sram__gb=1e3), work, "llama3-70b", batch=4)
    # compute-bound: four at once take four times as long, and the system gives the same
    assert four["figures"]["ttft_s"] == pytest.approx(4 * made["figures"]["ttft_s"], rel=1e-3)


def test_images_cost_the_encoder_its_operations_and_room() -> None:
    plain = ask(_roomy(), point(prompt=2304), "llama3-70b")
    seen = ask(
        _roomy(), point(prompt=2304, encoder_params=0.6e9, encoder_tokens=2048), "llama3-70b"
    )
    more = sum(seen["prefill_s"].values()) - sum(plain["prefill_s"].values())
    assert more == pytest.approx(2 * 0.6e9 * 2048 / 989e12)
    assert seen["held"]["weights_hbm"] - plain["held"]["weights_hbm"] == pytest.approx(1.2e9)


def test_eight_bit_weights_halve_the_read_and_keep_attention_in_sixteen_bits() -> None:
    d = _roomy(link__gbps=1e12)
    narrow = ask(d, point(dtype="fp8"), "llama3-70b")["decode_s"]["hbm"]
    head = 2 * 128_256 * 8192  # stays in 16 bits
    kv = (1024 + 256) * KV_TOKEN
    assert narrow == pytest.approx(((WEIGHTS - head) / 2 + head + kv) / (3.35 * TB), rel=1e-3)
    wide = ask(d, point(prompt=100_000), "llama3-70b")["prefill_s"]["compute"]
    mixed = ask(d, point(prompt=100_000, dtype="fp8"), "llama3-70b")["prefill_s"]["compute"]
    attention = 100_000**2 / 2 * SCORES / 989e12
    assert mixed - attention == pytest.approx((wide - attention) * 989 / 1979, rel=1e-3)


def test_flash_adds_its_bandwidth_and_a_mixture_waits_for_its_pages() -> None:
    flash = {"hbm.stacks": 2, "hbm.gb": 1000, "hbm.gbps": 1000, "hbf.stacks": 2, "hbf.gb": 4000,
             "hbf.gbps": 1000, "hbf.buffer_mb": 40, "hbf.latency_us": 20}  # fmt: skip
    both = ideal("h100").with_numbers(flash)
    made = ask(both, point(prompt=1, output=1e-3), "llama3-70b")["decode_s"]
    pages = 7 * 80 * 4096  # half a page lost at both ends of every matrix
    assert made["hbm"] + made["hbf"] == pytest.approx((WEIGHTS / 2 + pages) / 2e12, rel=1e-3)
    assert made["latency"] == pytest.approx(20e-6)  # once: the rest is read ahead
    mixture = ask(both, point(prompt=1, output=1e-3), "deepseek-v3")["decode_s"]
    assert mixture["latency"] == pytest.approx(
        (1 + 58) * 20e-6
    )  # which experts, no layer knows ahead


def test_logic_near_memory_speeds_up_what_is_bound_by_it_and_no_prompt() -> None:
    bus = _roomy()
    near = bus.with_numbers({"pnm.gain": 2, "pnm.tflops": 1000, "pnm.shard_gb": 1000})
    slow, fast = (ask(one, point(), "llama3-70b") for one in (bus, near))
    assert fast["decode_s"]["hbm"] == pytest.approx(slow["decode_s"]["hbm"] / 2, rel=0.01)
    weak = bus.with_numbers({"pnm.gain": 2, "pnm.tflops": 1})
    assert ask(weak, point(), "llama3-70b", batch=512)["decode_s"] == pytest.approx(
        ask(bus, point(), "llama3-70b", batch=512)["decode_s"]
    )


def test_small_banks_pay_for_vectors_that_large_shards_do_not() -> None:
    near = _roomy().with_numbers({"pnm.gain": 8, "pnm.tflops": 1e5, "pnm.shard_gb": 32})
    banks = near.with_numbers({"pnm.shard_gb": 0.05})
    slow, fast = (ask(one, point(), "llama3-70b", batch=64)["decode_s"] for one in (banks, near))
    assert sum(slow.values()) > 1.05 * sum(fast.values())


def test_heat_slows_a_pass_until_its_power_is_carried_off() -> None:
    hot = ideal("h100").with_numbers(
        {"chip.thermal_w": 400, "hbm.gb": 1000, "chip.static_share": 0.3}
    )
    made = ask(hot, point(prompt=4096), "llama3-70b")["prefill_s"]
    assert made["power"] > 0
    # at the nameplate peak, 70 % of 700 W go to operations, 190 W are left of 400 W: 0.388 of the speed
    compute = made["compute"]
    assert sum(made.values()) >= compute * 490 / 190


def test_a_failed_chip_stops_its_replica_until_a_spare_takes_over() -> None:
    d = dict(explore.system("gb200-nvl72").values())
    hours = 72 * 0.17 * 24 / 8760
    assert float(availability(np, d, 72.0)) == pytest.approx(1 / (1 + hours))
    spared = {**d, "chip.spares": 1.0}
    assert float(availability(np, spared, 72.0)) == pytest.approx(
        1 / (1 + 72 * 0.17 * 10 / 60 / 8760)
    )


def test_experts_that_lie_apart_fail_together() -> None:
    often = ideal("h200x16").with_numbers({"tail.failures_per_year": 10})
    never = often.with_numbers({"tail.failures_per_year": 0})
    cut = {"dp": 16, "ep": 16, "batch": 8}
    rates = [
        ask(one, point(), "deepseek-v3", **cut)["figures"]["system_tokens_per_s"]
        for one in (often, never)
    ]
    assert rates[0] / rates[1] == pytest.approx(1 / (1 + 16 * 10 * 24 / 8760))


def test_sessions_that_wait_keep_their_own_text_and_no_copy_of_a_shared_one() -> None:
    work = point(cached_tokens=10_000, waiting_sessions=2.0)
    own = ask(_roomy(), work, "llama3-70b", batch=4)["held"]
    assert own["waiting_hbm"] == pytest.approx(2 * 4 * 11_536 * KV_TOKEN)
    shared = ask(_roomy(), work.with_(shared_cache=True), "llama3-70b", batch=4)["held"]
    assert shared["waiting_hbm"] == pytest.approx(2 * 4 * 1536 * KV_TOKEN)


def test_retrieval_reads_from_where_the_store_lies() -> None:
    work = point(store_gb=100, retrieved_mb=100)
    plain = ask(_roomy(), point(), "llama3-70b")["figures"]["ttft_s"]
    away = ask(_roomy(), work, "llama3-70b")["figures"]["ttft_s"]
    assert away - plain == pytest.approx(100e6 / 50e9)  # no slow memory: over the network
    flash = _roomy(hbf__stacks=1, hbf__gb=4000, hbf__gbps=1000, hbf__buffer_mb=40)
    before = ask(flash, point(), "llama3-70b")["figures"]["ttft_s"]
    here = ask(flash, work, "llama3-70b")["figures"]["ttft_s"]
    assert here - before == pytest.approx(100e6 / 1e12 + 20e-6)
