"""Which fabric words a core can have under way while it multiplies: data dependence within a body.

    trip    some product of the same trip neither feeds the word nor waits for it
    loop    no such product, but the next trip does not wait for the word either: with one more
            buffer it runs behind other trips' products
    none    nothing to multiply meanwhile: the word is exposed

A loop that contains products counts as a product of the body around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from waferllm.plmr.nodes import Body, Node, Value
from waferllm.plmr.rules import Kind


class Cover(StrEnum):
    """What can run while a word is under way."""

    TRIP = "trip"
    LOOP = "loop"
    NONE = "none"


@dataclass(frozen=True)
class Overlap:
    """A word's place in its body: how it is covered, by how many operations of its own trip."""

    cover: Cover
    beside_flops: int


def product_flops(node: Node) -> int:
    """Operations of a node's products in one execution, those of a loop with all its trips."""
    if node.kind is Kind.PRODUCT:
        batch, m, n, k = product_shape(node)
        return 2 * batch * m * n * k
    if node.body is not None:
        return node.body.trips * sum(product_flops(inner) for inner in node.body.nodes)
    return 0


def product_shape(node: Node) -> tuple[int, int, int, int]:
    """(batch, m, n, k) of a dot_general."""
    (contract, _), (batch, _) = node.params["dimension_numbers"]
    left, out = node.ins[0], node.outs[0]
    b = _count(left.shape, batch)
    k = _count(left.shape, contract)
    m = left.elements // max(1, b * k)
    return b, m, out.elements // max(1, b * m), k


def _count(shape: Sequence[int], dims: Sequence[int]) -> int:
    total = 1
    for d in dims:
        total *= shape[d]
    return total


class Dependence:
    """Dependence between the words and products of one body, as sets of bits.

    Bit i stands for the i-th word or product, or for a carry that comes in; `before[value]` has the
    bits of everything that the value waits for.
    """

    def __init__(self, body: Body) -> None:
        self.body = body
        flops = {node: product_flops(node) for node in body.nodes}
        self.flops = {node: count for node, count in flops.items() if count}
        self.items = [n for n in body.nodes if n.kind is Kind.WORD or n in self.flops]
        self.bit = {node: 1 << i for i, node in enumerate(self.items)}
        self.carry_bits = [1 << (len(self.items) + i) for i in range(len(body.carries))]
        self.before: dict[Value, int] = dict(zip(body.carries, self.carry_bits, strict=True))
        self.waits: dict[Node, int] = {}
        for node in body.nodes:
            waits = 0
            for value in node.ins:
                waits |= self.before.get(value, 0)
            self.waits[node] = waits
            after = waits | self.bit.get(node, 0)
            for out in node.outs:
                self.before[out] = after

    def overlap(self, word: Node) -> Overlap:
        mine = self.bit[word]
        beside = sum(
            flops
            for node, flops in self.flops.items()
            if not self.waits[word] & self.bit[node] and not self.waits[node] & mine
        )
        if beside:
            return Overlap(Cover.TRIP, beside)
        behind = self.flops and self.body.trips > 1 and not self._held_up(word)
        return Overlap(Cover.LOOP if behind else Cover.NONE, 0)

    def _held_up(self, word: Node) -> bool:
        """Whether a word or product of a later trip waits for this word."""
        reached, fresh = 0, self.bit[word]
        while fresh:
            found = 0
            for bit, value in zip(self.carry_bits, self.body.carried, strict=True):
                if self.before.get(value, 0) & fresh:
                    found |= bit
            fresh = found & ~reached
            reached |= found
        return any(self.waits[node] & reached for node in self.items)

    def started(self) -> list[Node]:
        """The body's operations as a core starts them: words beside a product as soon as they can.

        Of two operations of which neither waits for the other, the program's order is kept.
        """
        early = {
            node
            for node in self.items
            if node.kind is Kind.WORD and self.overlap(node).cover is Cover.TRIP
        }
        first: set[Node] = set()
        for word in early:
            first |= self._needs(word)
        return [n for n in self.body.nodes if n in first] + [
            n for n in self.body.nodes if n not in first
        ]

    def _needs(self, word: Node) -> set[Node]:
        """The word and what it waits for, within the body."""
        inside = set(self.body.nodes)
        found, queue = set(), [word]
        while queue:
            node = queue.pop()
            if node in found:
                continue
            found.add(node)
            makers = (value.producer for value in node.ins)
            queue += [m for m in makers if m is not None and m in inside]
        return found
