"""Open questions on inference hardware (X. Ma, D. Patterson, IEEE Computer 59(5), 2026), each answered.

    questions.flash_beside_dram()          how many of a chip's memory sites should be flash
    questions.limits_of_flash()            what latency, buffer and energy of flash do to it
    questions.logic_near_memory()          in or near DRAM, in the data centre
    questions.logic_near_memory_mobile()   the same, and flash, in a phone
    questions.stacks_or_bandwidth()        more stacks, or wider ones
    questions.heat_of_stacking()           what bandwidth is worth under how much cooling
    questions.topology_for_small_messages()
    questions.late_chips()                 time-outs and spares

Every function evaluates designs and returns an `Answer`: curves to plot and a sentence whose numbers come
from them. All figures are predicted, at the prices, energies and limits of `explore.parts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from waferllm.errors import CapacityError
from waferllm.explore import core
from waferllm.explore.collectives import TOPOLOGIES, all_reduce_two_level_s
from waferllm.explore.evaluating import inputs, numpy_evaluate
from waferllm.explore.result import Result
from waferllm.explore.searching import search
from waferllm.explore.shapes import find_shape
from waferllm.explore.sharding import Sharding
from waferllm.explore.systems import System, system
from waferllm.explore.workloads import WORKLOADS, Workload
from waferllm.reports.explore_plots import Curve, curves

SITES = 8
#: A change of less is called none.
LITTLE = 0.05


def _frozen(tokens: int) -> Workload:
    """A short question on a long text whose KV is kept and hardly ever changes."""
    return WORKLOADS["rag"].with_(
        name=f"{tokens:,} frozen tokens", cached_tokens=float(tokens), store_gb=0.0,
        retrieved_mb=0.0, max_tpot_s=0.1,
    )  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A question, the curves that answer it, and the answer in plain words."""

    question: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    says: str
    log: str = ""

    def curve(self, name: str) -> Curve:
        """The curve of a name."""
        return next(one for one in self.curves if one.name == name)

    def plot(self, path: Path) -> None:
        """Write the curves as a PNG file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        curves(path, f"{self.question} (predicted)", self.x_label, self.y_label, self.curves,
               log=self.log)  # fmt: skip

    def __str__(self) -> str:
        return f"{self.question}\n{self.says}"


def _found(machine: System, work: Workload, model: str, objective: str) -> Result | None:
    try:
        return search(machine, work, model=model, objective=objective, advise=False)
    except CapacityError:
        return None


def _figure(made: Result | None, key: str) -> float:
    value = made.value(key) if made else None
    return nan if value is None else value


#: (name, model, workload) whose context or weights ask for room.
_ROOMY: tuple[tuple[str, str, Workload], ...] = (
    ("DeepSeek-V3, chat", "deepseek-v3", WORKLOADS["chat"]),
    ("Kimi-K2, chat", "kimi-k2", WORKLOADS["chat"]),
    ("Llama-3-70B, 128k tokens of frozen context", "llama3-70b", _frozen(131_072)),
    ("DeepSeek-V3, 1M tokens of frozen context", "deepseek-v3", _frozen(1_048_576)),
)


def flash_beside_dram(counts: Sequence[int] = (1, 2, 4, 8)) -> Answer:
    """How many of a chip's eight memory sites should hold flash instead of HBM4?

    Dollars for a million tokens at the count of chips that is cheapest, over those with HBM4 alone; and
    the fewest chips that serve the workload at all.
    """
    shares = tuple(range(SITES))
    made, said = [], []
    for name, model, work in _ROOMY:
        dollars, fewest = zip(*(_cheapest(model, n, work, counts) for n in shares), strict=True)
        made.append(Curve(name, shares, [one / dollars[0] for one in dollars]))
        best = min((n for n in shares if fewest[n] == min(fewest)), key=lambda n: dollars[n])
        cheapest = int(np.nanargmin(dollars))
        room = (
            f"{_sites(best)}: {fewest[best]} instead of {fewest[0]} chip(s) serve it, at "
            f"{dollars[best] / dollars[0] - 1:+.0%} per token"
        )
        need = room if fewest[best] < fewest[0] else "fewer chips do not serve it with flash"
        said.append(f"{name}: {_sites(cheapest)} is cheapest per token; {need}")
    return Answer(
        "How much flash beside DRAM?", f"HBF stacks of {SITES}, the others HBM4",
        "$ per million tokens over HBM4 alone", tuple(made), ".\n".join(said) + ".",
    )  # fmt: skip


def _sites(count: int) -> str:
    return f"flash on {count} of {SITES} sites" if count else "no flash"


def _node(flash: int, chips: int) -> System:
    made = system("hbf-node").with_numbers(
        {"chip.count": chips, "hbf.stacks": flash, "hbm.stacks": SITES - flash}
    )
    return made.named(f"{chips} chips, {flash} of {SITES} sites flash")


def _cheapest(model: str, flash: int, work: Workload, counts: Sequence[int]) -> tuple[float, int]:
    """Dollars for a million tokens with the best count of chips, and the fewest that serve at all."""
    found = {n: _found(_node(flash, n), work, model, "tco") for n in counts}
    serving = [n for n, one in found.items() if one]
    if not serving:
        return nan, 0
    return min(_figure(found[n], "usd_per_mtok") for n in serving), min(serving)


def limits_of_flash(model: str = "deepseek-v3", batch: int = 64) -> Answer:
    """What would lower latency or a larger buffer of flash give?

    Tokens a second of one chip with four stacks of each kind, over read latency, by read-ahead buffer.
    """
    latencies = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
    made = []
    for buffer_mb in (16.0, 65.5, 262.0):
        rates = [_flash_rate(model, batch, {"hbf.latency_us": late, "hbf.buffer_mb": buffer_mb})
                 for late in latencies]  # fmt: skip
        made.append(Curve(f"{buffer_mb:g} MB of buffer a stack", latencies, rates))
    catalogue = made[1].y[4]
    lean = _flash_rate(model, batch, {"hbf.pj_per_bit": 6.1})
    says = (
        f"At 20 us and 65.5 MB, twice bandwidth x latency, {catalogue:,.0f} tokens/s. 1 us would give "
        f"{made[1].y[0] / catalogue - 1:+.0%}, four times the buffer {made[2].y[4] / catalogue - 1:+.0%}, "
        f"a quarter of it {made[0].y[4] / catalogue - 1:+.0%}; reads at 6.1 instead of 20 pJ/bit "
        f"{lean / catalogue - 1:+.0%}, for heat."
    )
    return Answer(f"What limits flash under {model}?", "read latency, us", "tokens/s",
                  tuple(made), says, "x")  # fmt: skip


def _flash_rate(model: str, batch: int, changes: dict[str, float]) -> float:
    """Tokens a second of decode alone on eight chips, the weights where they are read quickest."""
    shape = find_shape(model)
    d, m, w = inputs(system("hbf-node").with_numbers(changes), shape, WORKLOADS["reasoning"])
    rates = []
    for cool in (0, 1):
        cut = Sharding(tp=1, dp=8, ep=8, batch=batch, cool_flash=cool)
        made = numpy_evaluate(d, m, w, cut.values())
        rates.append(8 * batch / float(made["alone"]["token_s"]))
    return max(rates)


def logic_near_memory(model: str = "llama3-70b") -> Answer:
    """In or near DRAM: which logic gives more in the data centre, and up to which batch?"""
    batches = (1, 4, 16, 64, 256)
    plain = _node_rates("hbm4-node", model, batches)
    gains = {
        kind: _node_rates(f"{kind.lower()}-node", model, batches) / plain for kind in ("PNM", "PIM")
    }
    names = {"PNM": "logic on the base die (PNM)", "PIM": "logic in the DRAM (PIM)"}
    made = [
        Curve(names[kind], batches, [float(one) for one in gain]) for kind, gain in gains.items()
    ]
    shards = {kind: system(f"{kind.lower()}-node")["pnm.shard_gb"] for kind in gains}
    said = [
        f"at batch {batch} PNM {gains['PNM'][n]:.2f} and PIM {gains['PIM'][n]:.2f}"
        for n, batch in enumerate(batches) if batch in (batches[0], batches[-1])
    ]  # fmt: skip
    says = (
        f"Times the tokens/s of HBM4 alone: {', '.join(said)}. A layer's weights on one chip lie in "
        f"{_shards(model, shards['PIM']):.0f} banks of PIM and {_shards(model, shards['PNM']):.0f} "
        "stack(s) of PNM."
    )
    return Answer(f"Logic in or near memory for {model} on eight chips?", "requests at once",
                  "tokens/s over HBM4 alone", tuple(made), says, "x")  # fmt: skip


def _node_rates(name: str, model: str, batches: Sequence[int]) -> np.ndarray[Any, Any]:
    """Tokens a second of decode alone, eight chips of a node cut by tensor."""
    d, m, w = inputs(system(name), find_shape(model), WORKLOADS["reasoning"])
    counts = np.array(batches, dtype=float)
    cut = Sharding(tp=SITES).values() | {"batch": counts}
    return counts / numpy_evaluate(d, m, w, cut)["alone"]["token_s"]


def _shards(model: str, shard_gb: float) -> float:
    shape = find_shape(model)
    return np.ceil(2 * shape.dense_params / shape.layers / SITES / (shard_gb * 1e9))


def logic_near_memory_mobile(model: str = "llama3.2-3b") -> Answer:
    """What does logic near LPDDR, or flash, give one user of a phone, with 4-bit weights?"""
    contexts = (512, 2048, 8192, 32768)
    inside = system("phone-pim")
    phones = {
        "LPDDR5X alone": system("phone"),
        "logic near it (PNM)": system("phone-pnm"),
        "logic in it (PIM), 16-bit units": inside,
        "logic in it (PIM), 4-bit units": inside.with_numbers(
            {"pnm.tflops": 4 * inside["pnm.tflops"]}
        ),
        "a stack of flash": system("phone-hbf"),
    }
    made = []
    for title, phone in phones.items():
        works = [WORKLOADS["mobile-chat"].with_(prompt_tokens=float(n), max_ttft_s=1e9, max_tpot_s=1e9)
                 for n in contexts]  # fmt: skip
        rates = [
            _figure(_found(phone, one, model, "latency"), "user_tokens_per_s") for one in works
        ]
        made.append(Curve(title, contexts, rates))
    gains = {one.name: one.y[0] / made[0].y[0] for one in made[1:]}
    said = ", ".join(f"{name} {gain:.2f}" for name, gain in gains.items())
    best = max(gains, key=lambda name: gains[name])
    flash = "adds room and no speed" if gains["a stack of flash"] < 1 + LITTLE else "is quicker too"
    says = (
        f"Times the tokens/s of LPDDR5X alone, after {contexts[0]} tokens: {said}. Best is {best}. "
        f"Flash {flash}: a read costs {phones['a stack of flash']['hbf.pj_per_bit']:g} pJ/bit, and a phone "
        f"carries off {phones['a stack of flash']['chip.thermal_w']:g} W."
    )
    return Answer(f"Logic near memory, or flash, in a phone with {model}?", "tokens of prompt",
                  "tokens/s of the user", tuple(made), says, "xy")  # fmt: skip


def stacks_or_bandwidth(model: str = "llama3-70b", workload: str = "reasoning") -> Answer:
    """From eight HBM4 stacks a chip on: more capacity or more bandwidth, with all the cooling it takes?"""
    factors = (0.5, 1.0, 1.5, 2.0, 3.0)
    base = system("hbm4-node").with_numbers({"chip.thermal_w": 1e5})
    ways = {
        "more capacity, same bandwidth": ("hbm.gb",),
        "more bandwidth, same capacity": ("hbm.gbps",),
        "both: more stacks": ("hbm.gb", "hbm.gbps"),
    }
    made = []
    for title, keys in ways.items():
        rates = [
            _figure(_found(base.with_numbers({key: base[key] * f for key in keys}),
                           WORKLOADS[workload], model, "throughput"), "system_tokens_per_s")
            for f in factors
        ]  # fmt: skip
        made.append(Curve(title, factors, rates))
    gains = {one.name: one.y[3] / one.y[1] - 1 for one in made}
    said = ", ".join(f"{name} {gain:+.0%}" for name, gain in gains.items())
    alone = {name: gain for name, gain in gains.items() if "both" not in name}
    best = max(alone, key=lambda name: alone[name])
    says = (
        f"Twice as much, tokens/s of {workload}: {said}. Of the two alone {best} gives more, with all the "
        "cooling it takes."
    )
    return Answer(f"Stacks or bandwidth for {model}?", "times eight HBM4 stacks a chip",
                  "tokens/s", tuple(made), says)  # fmt: skip


def heat_of_stacking(model: str = "llama3-70b", workload: str = "reasoning") -> Answer:
    """Logic under memory: how much bandwidth is worth having under how much cooling?"""
    factors = (1.0, 1.5, 2.0, 3.0, 4.0)
    base = system("stacked-node")
    made, knees = [], []
    for watts in (500.0, 600.0, 800.0, 1000.0):
        rates = [
            _figure(_found(base.with_numbers({"hbm.gbps": base["hbm.gbps"] * f, "chip.thermal_w": watts}),
                           WORKLOADS[workload], model, "throughput"), "system_tokens_per_s")
            for f in factors
        ]  # fmt: skip
        made.append(Curve(f"cooling of {watts:g} W", factors, rates))
        knee = next((f for f, rate in zip(factors, rates, strict=True)
                     if rates[-1] <= rate * (1 + LITTLE)), factors[-1])  # fmt: skip
        knees.append(f"{knee:g}x at {watts:g} W")
    gain = made[-1].y[0] / made[0].y[0]
    says = (
        f"Bandwidth beyond {', '.join(knees)} gives less than {LITTLE:.0%}. "
        f"At today's bandwidth cooling of 1000 instead of 500 W gives {gain:.2f} times the tokens/s."
    )
    return Answer(f"Bandwidth against heat of stacked memory for {model}?",
                  "times the bandwidth of eight HBM4 stacks", "tokens/s", tuple(made), says)  # fmt: skip


def topology_for_small_messages(message_bytes: float = 16384.0) -> Answer:
    """Which topology sums a small message over many chips soonest, at 0.2 us a hop?"""
    chips = (4, 8, 16, 32, 64, 128, 256)
    base = system("lowlat-node").with_numbers({"link.size": 4096, "link.reduces": 0})
    made = []
    for kind in ("ring", "torus2", "torus3", "hypercube", "dragonfly", "full"):
        made.append(Curve(kind, chips, _sums_us(base, kind, message_bytes, chips)))
    adding = base.with_numbers({"link.reduces": 1})
    made.append(
        Curve("dragonfly that adds", chips, _sums_us(adding, "dragonfly", message_bytes, chips))
    )
    at = chips.index(64)
    order = sorted(made, key=lambda one: one.y[at])
    ring = next(one for one in made if one.name == "ring")
    sums = 2 * find_shape("llama3-70b").layers
    says = (
        f"On {chips[at]} chips {message_bytes:,.0f} B take {order[0].y[at]:.1f} us on {order[0].name}, "
        f"{order[1].y[at]:.1f} on {order[1].name} and {ring.y[at]:.1f} on a ring (full takes "
        f"{chips[at] - 1} links a chip); {sums} sums a token of Llama-3-70B are "
        f"{1e-3 * sums * order[0].y[at]:.2f} and {1e-3 * sums * ring.y[at]:.2f} ms."
    )
    return Answer(f"Which topology sums {message_bytes:,.0f} B soonest?", "chips", "us",
                  tuple(made), says, "xy")  # fmt: skip


def _sums_us(base: System, kind: str, size: float, chips: Sequence[int]) -> list[float]:
    d = base.with_numbers({"link.topology": TOPOLOGIES.index(kind)}).values()
    return [1e6 * float(sum(all_reduce_two_level_s(np, d, size, float(n)))) for n in chips]


def late_chips(model: str = "llama3-70b", late_us: float = 100.0) -> Answer:
    """What do time-outs and spares save where chips are late or fail?"""
    chances = (1e-5, 1e-4, 1e-3, 1e-2)
    shape, cut = find_shape(model), Sharding(tp=8, batch=32)
    made = []
    for timeout_us in (1e6, 20.0, 5.0):
        times = []
        for chance in chances:
            changed = system("lowlat-node").with_numbers({
                "tail.probability": chance, "tail.delay_us": late_us, "tail.timeout_us": timeout_us,
            })  # fmt: skip
            done = numpy_evaluate(*inputs(changed, shape, WORKLOADS["chat"]), cut.values())
            times.append(1e3 * float(done["alone"]["token_s"]))
        name = "everybody waits" if timeout_us > late_us else f"time-out after {timeout_us:g} us"
        made.append(Curve(name, chances, times))
    d = system("gb200-nvl72").values()
    bare, spared = (float(core.availability(np, d | {"chip.spares": n}, 72.0)) for n in (0.0, 1.0))
    says = (
        f"Chips late by {late_us:g} us once in {1 / chances[2]:,.0f} sums lengthen a token by "
        f"{made[0].y[2] / made[0].y[0] - 1:.0%}, with a time-out of 5 us by "
        f"{made[2].y[2] / made[2].y[0] - 1:.0%} (at the price of a stale summand). A replica of 72 chips "
        f"works {bare:.1%} of the time if a failed chip waits for repair, {spared:.2%} with a spare."
    )
    return Answer(f"Late chips under {model} on eight chips?", "chance of a late chip in one sum",
                  "ms per token", tuple(made), says, "x")  # fmt: skip


QUESTIONS = (
    flash_beside_dram, limits_of_flash, logic_near_memory, logic_near_memory_mobile,
    stacks_or_bandwidth, heat_of_stacking, topology_for_small_messages, late_chips,
)  # fmt: skip
