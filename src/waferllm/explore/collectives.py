"""Time of collectives on a topology: every algorithm costed by hops and bytes, the cheapest chosen.

All functions take the array module `xp` (NumPy or jax.numpy) and arrays of designs; seconds and bytes.
The costs are the textbook alpha-beta ones: alpha = hops x `link.latency_us` and a fixed software time
fitted to measured collectives (`explore.calibrated`), beta = bytes over one chip's injection bandwidth.
Where messages share links, bytes count once for every link that they cross on average.
"""

from types import ModuleType
from typing import Any

Array = Any
Numbers = dict[str, Any]

TOPOLOGIES = (
    "switch", "full", "fat-tree", "dragonfly", "hypercube", "torus3", "torus2", "mesh2", "ring",
)  # fmt: skip
_SWITCH, _FULL, _FAT, _FLY, _CUBE, _T3, _T2, _MESH, _RING = range(9)
_FAT_TREE_RADIX = 64
US, GB = 1e-6, 1e9


def _pick(xp: ModuleType, kind: Array, values: list[Array]) -> Array:
    made = values[0]
    for index, value in enumerate(values[1:], 1):
        made = xp.where(kind == index, value, made)
    return made


def diameter_hops(xp: ModuleType, kind: Array, p: Array) -> Array:
    """Hops between the two chips that are farthest apart; a single switch counts as one hop."""
    bits = xp.ceil(xp.log2(xp.maximum(p, 2)) - 1e-6)
    k2, k3 = xp.ceil(xp.sqrt(p) - 1e-6), xp.ceil(xp.cbrt(p) - 1e-6)
    levels = xp.ceil(xp.log2(xp.maximum(p, 2)) / _log2(_FAT_TREE_RADIX) - 1e-6)
    hops = _pick(
        xp, kind,
        [1.0, 1.0, 2 * levels - 1, xp.minimum(3.0, p - 1), bits, 3 * xp.floor(k3 / 2),
         2 * xp.floor(k2 / 2), 2 * (k2 - 1), xp.floor(p / 2)],
    )  # fmt: skip
    return xp.maximum(hops, 1.0)


def mean_hops(xp: ModuleType, kind: Array, p: Array) -> Array:
    """Links that a message between two random chips crosses, of those that a chip injects into."""
    bits = xp.log2(xp.maximum(p, 2))
    k2, k3 = xp.sqrt(p), xp.cbrt(p)
    hops = _pick(
        xp, kind, [1.0, 1.0, 1.0, 1.0, bits / 2, 3 * k3 / 4, k2 / 2, 2 * k2 / 3, p / 4]
    )  # fmt: skip
    return xp.maximum(hops, 1.0)


def _log2(count: int) -> float:
    return count.bit_length() - 1


def _bucket_steps(xp: ModuleType, kind: Array, p: Array) -> Array:
    """Neighbour steps of reduce-scatter and all-gather; chips of a switch reach all others at once."""
    k2, k3 = xp.sqrt(p), xp.cbrt(p)
    two = 2.0
    return _pick(
        xp, kind,
        [two, two, 2 * diameter_hops(xp, kind, p), 2 * diameter_hops(xp, kind, p),
         2 * xp.log2(xp.maximum(p, 2)), 6 * (k3 - 1), 4 * (k2 - 1), 4 * (k2 - 1), 2 * (p - 1)],
    )  # fmt: skip


def tail_s(xp: ModuleType, d: Numbers, p: Array) -> Array:
    """Expected wait for the latest of p chips, cut short by the time-out."""
    late = 1 - (1 - d["tail.probability"]) ** p
    return late * xp.minimum(d["tail.delay_us"], d["tail.timeout_us"]) * US


def all_reduce_s(xp: ModuleType, d: Numbers, n_bytes: Array, p: Array) -> dict[str, Array]:
    """Seconds of every algorithm for n bytes on p chips of one domain; infinite where impossible."""
    kind, hop_s = d["link.topology"], d["link.latency_us"] * US
    far, mean = diameter_hops(xp, kind, p), mean_hops(xp, kind, p)
    beta_s = n_bytes / (d["link.gbps"] * GB)
    bits = xp.ceil(xp.log2(xp.maximum(p, 2)) - 1e-6)
    near = xp.where(kind == _CUBE, 1.0, far)
    small, bulk = d["link.software_us"] * US, d["link.bulk_us"] * US
    both = 2 * (p - 1) / p * beta_s / d["link.eff_bulk"]
    return {
        "one-shot": small + far * hop_s + d["link.peer_us"] * US * (p - 1)
        + (p - 1) * mean * beta_s / d["link.eff_small"],
        "doubling": bits * (small + near * hop_s + xp.where(kind == _CUBE, 1.0, mean)
                            * beta_s / d["link.eff_small"]),
        "bucket": bulk + _bucket_steps(xp, kind, p) * hop_s + both,
        "in-network": xp.where(
            d["link.reduces"] > 0, small + 2 * far * hop_s + beta_s / d["link.eff_bulk"], xp.inf
        ),
    }  # fmt: skip


def all_reduce_best_s(xp: ModuleType, d: Numbers, n_bytes: Array, p: Array) -> Array:
    """Seconds of the best algorithm for this size, all chips in time; zero for one chip."""
    best = None
    for seconds in all_reduce_s(xp, d, n_bytes, p).values():
        best = seconds if best is None else xp.minimum(best, seconds)
    return xp.where(p > 1, best, 0.0)


def all_reduce_two_level_s(
    xp: ModuleType, d: Numbers, n_bytes: Array, p: Array
) -> tuple[Array, Array]:
    """Seconds on scale-up links and on the network: reduced inside domains, then across them.

    The latest of all p chips is waited for, on the links if there is one domain, else on the network.
    Across, each chip takes 1/domain of the bytes; recursive doubling or halving-doubling, the cheaper.
    """
    inside = xp.minimum(p, d["link.size"])
    domains = xp.ceil(p / d["link.size"] - 1e-6)
    share_s = n_bytes / inside / (d["net.gbps"] * GB * d["net.eff"])
    bits = xp.ceil(xp.log2(xp.maximum(domains, 2)) - 1e-6)
    hop_s = d["net.latency_us"] * US
    doubling = bits * (hop_s + share_s)
    halving = 2 * bits * hop_s + 2 * (domains - 1) / domains * share_s
    wait = xp.where(p > 1, tail_s(xp, d, p), 0.0)
    across = xp.where(domains > 1, xp.minimum(doubling, halving) + wait, 0.0)
    return all_reduce_best_s(xp, d, n_bytes, inside) + xp.where(domains > 1, 0.0, wait), across


def exchanged_bytes(xp: ModuleType, d: Numbers, n_bytes: Array, p: Array) -> tuple[Array, Array]:
    """What a chip sends on links and on the network in an all-to-all in which it holds n bytes."""
    inside = xp.minimum(p, d["link.size"])
    return n_bytes * (inside - 1) / p, n_bytes * (1 - inside / p)


def dispatched_bytes(
    xp: ModuleType, d: Numbers, vector_bytes: Array, experts: Array, p: Array
) -> tuple[Array, Array]:
    """The same where vectors go to the chips of `experts` experts each, drawn uniformly.

    A vector crosses to another domain once and is passed on there over links; to a chip it goes once.
    """
    inside = xp.minimum(p, d["link.size"])
    domains = xp.maximum(p / inside, 1.0)
    chips = p * (1 - (1 - 1 / p) ** experts)
    others = (domains - 1) * (1 - (1 - 1 / domains) ** experts)
    near = chips * (inside - 1) / p + xp.maximum(chips * (1 - inside / p) - others, 0.0)
    return vector_bytes * near, vector_bytes * others


def exchange_two_level_s(
    xp: ModuleType, d: Numbers, on_links: Array, on_network: Array, p: Array
) -> tuple[Array, Array]:
    """Seconds of an all-to-all on links and on the network, in which a chip sends so many bytes on each."""
    inside = xp.minimum(p, d["link.size"])
    kind = d["link.topology"]
    link = (
        d["link.exchange_us"] * US
        + d["link.latency_us"] * US * diameter_hops(xp, kind, inside)
        + on_links * mean_hops(xp, kind, inside) / (d["link.gbps"] * GB * d["link.eff_exchange"])
    )
    net = d["net.latency_us"] * US + on_network / (d["net.gbps"] * GB * d["net.eff"])
    wait = tail_s(xp, d, p)
    link = link + xp.where(p > inside, 0.0, wait)
    return xp.where(inside > 1, link, 0.0), xp.where(p > inside, net + wait, 0.0)


def reduced_bytes(xp: ModuleType, d: Numbers, n_bytes: Array, p: Array) -> tuple[Array, Array]:
    """What a chip sends on links and on the network in a bandwidth-bound all-reduce of n bytes."""
    inside = xp.minimum(p, d["link.size"])
    domains = xp.maximum(p / inside, 1.0)
    return 2 * n_bytes * (1 - 1 / inside), 2 * n_bytes / inside * (1 - 1 / domains)
