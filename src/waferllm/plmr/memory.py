"""The most bytes that one core holds at once, by the liveness of a program's values.

The rules, which say what a careful compiler for a core with a scratchpad would do:

* Arguments and captured constants stay for the whole program: their space is never given back.
  After its last use an argument may be written over by what replaces it (a cache by the updated
  cache, a weight by the weight that the ring brings home), and by nothing else than an operation in
  place.
* A value lives from the operation that makes it to the last one that reads it.
* Elementwise operations, updates and reductions over the fabric write over an operand of at least
  the result's size if it dies there. A shift receives into a second buffer; if its operand dies,
  the two buffers have then swapped roles.
* Views (reshape, transpose, slice, spreading out) are addresses, not copies.
* A product whose only use is to be added accumulates in place: no buffer for the product itself.
* Values made from indices alone (`nodes._virtual`) and constants spread over a shape take no
  memory.
* A loop body is held once; its carries live in their initial values' space if those die there, else
  in a copy. Stacked results are whole from the start; what a trip adds is made in its place.
* In a loop, words that need not wait for the trip's product start before it (their buffers count
  beside the product's operands), because this is how they overlap.
"""

from collections.abc import Callable, Iterable, Sequence

from waferllm.plmr.nodes import Body, Flat, Node, Value
from waferllm.plmr.rules import Kind

Order = Callable[[Body], Sequence[Node]]

_IN_PLACE = (Kind.ELEMENTWISE, Kind.UPDATE, Kind.WORD)
#: Words that receive a whole value while the old one is still being sent.
_RECEIVING = ("shift", "rotate", "broadcast_from")
_ENDLESS = 1 << 60


class _Buffer:
    """Space of one core: `refs` live values share it; `pinned` space is never given back."""

    __slots__ = ("bytes", "pinned", "refs")

    def __init__(self, size: int, pinned: bool = False) -> None:
        self.bytes, self.pinned, self.refs = size, pinned, 0


def held_bytes(flat: Flat, order: Order) -> tuple[int, list[int]]:
    """(arguments, what is held after each allocation) of one core in bytes, in program order.

    Each entry is a sum of sizes, so that it is a polynomial in them; the largest is the high-water
    mark.
    """
    given = [*flat.constants, *flat.arguments]
    arguments = sum(value.bytes for value in given)
    ledger = _Ledger(order, arguments)
    for value in given:
        ledger.hold(value, _Buffer(value.bytes, pinned=True))
    ledger.run(flat.body, given)
    return arguments, ledger.held


class _Ledger:
    """Bytes held now and after each allocation, and the buffer of each live value."""

    def __init__(self, order: Order, start_bytes: int) -> None:
        self.live = start_bytes
        self.held = [start_bytes]
        self.order = order
        self.buffers: dict[Value, _Buffer] = {}
        self.placed: set[Value] = set()  # made where a stacked result has room for them

    def hold(self, value: Value, buffer: _Buffer) -> None:
        self.buffers[value] = buffer
        buffer.refs += 1

    def new(self, size: int) -> _Buffer:
        self.live += size
        self.held.append(self.live)
        return _Buffer(size)

    def drop(self, value: Value) -> None:
        buffer = self.buffers.pop(value, None)
        if buffer is None:
            return
        buffer.refs -= 1
        if not buffer.refs and not buffer.pinned:
            self.live -= buffer.bytes

    def run(self, body: Body, owned: Iterable[Value]) -> set[Value]:
        """Goes through a body that may let go of the `owned` values; its results stay held.

        Returns every value of the body's own.
        """
        nodes = self.order(body)
        last, uses = _last_uses(nodes, body.outs)
        mine = set(owned)
        for value in [v for v in mine if v not in last]:
            self.drop(value)
        for i, node in enumerate(nodes):
            mine.update(node.outs)
            dying = {v for v in node.ins if last[v] == i and v in mine}
            if node.kind is Kind.LOOP:
                self._loop(node, dying, last)
            else:
                self._step(node, dying, last, uses)
            for value in dying | {v for v in node.outs if v not in last}:
                self.drop(value)
        return mine

    def _step(
        self, node: Node, dying: set[Value], last: dict[Value, int], uses: dict[Value, list[Node]]
    ) -> None:
        for out in node.outs:
            if out.virtual or out not in last:
                continue
            if node.kind is Kind.PRODUCT and _only_added(uses[out]):
                continue
            if node.kind is Kind.VIEW:
                source = self.buffers.get(node.ins[0])
                self.hold(out, source or self.new(out.bytes))
                continue
            if out in self.placed:
                self.hold(out, _Buffer(0))
                continue
            over = self._overwritten(node, out, dying)
            if over is None:
                self.hold(out, self.new(out.bytes))
            elif node.kind is Kind.WORD and node.name in _RECEIVING:
                self._swap(out, over)
            else:
                self._shrink(over, out.bytes)
                self.hold(out, over)

    def _overwritten(self, node: Node, out: Value, dying: set[Value]) -> _Buffer | None:
        """The buffer that the result may take: of an operand that dies here and fills it alone."""
        if node.kind not in _IN_PLACE:
            return None
        given = node.ins[:1] if node.kind in (Kind.UPDATE, Kind.WORD) else node.ins
        fit: list[_Buffer] = []
        for value in given:
            buffer = self.buffers.get(value)
            if buffer is None or value not in dying or value.elements != out.elements:
                continue
            if buffer.refs == 1 and buffer.bytes == value.bytes >= out.bytes:
                fit.append(buffer)
        return min(fit, key=lambda b: (b.pinned, b.bytes), default=None)

    def _swap(self, out: Value, over: _Buffer) -> None:
        """Receives beside the operand, which dies: one of the two buffers is free afterwards."""
        self.new(out.bytes)
        self.live -= out.bytes
        self.hold(out, over)

    def _shrink(self, buffer: _Buffer, size: int) -> None:
        if not buffer.pinned:
            self.live -= buffer.bytes - size
            buffer.bytes = size

    def _loop(self, node: Node, dying: set[Value], last: dict[Value, int]) -> None:
        body = node.body
        assert body is not None
        kept = len(body.carries)
        first = len(node.ins) - kept - len(body.slices)
        homes = [
            self._carry(carry, start, start in dying and node.ins.count(start) == 1)
            for carry, start in zip(body.carries, node.ins[first : first + kept], strict=True)
        ]
        for piece, stack in zip(body.slices, node.ins[first + kept :], strict=True):
            if stack in self.buffers:
                self.hold(piece, self.buffers[stack])
        for out, piece in zip(node.outs[kept:], body.stacked, strict=True):
            if out in last:
                self.hold(out, self.new(out.bytes))
                self.placed.add(piece)
        mine = self.run(body, [*body.carries, *body.slices])
        self._hand_on(node, body, homes)
        for value in mine.intersection(body.outs):
            self.drop(value)

    def _carry(self, carry: Value, start: Value, free: bool) -> _Buffer:
        """Puts a carry into its initial value's space if that is free to take, else into a copy."""
        home = self.buffers.get(start)
        if home is not None and free and home.refs == 1 and home.bytes == carry.bytes:
            del self.buffers[start]
            home.refs = 0
        else:
            home = self.new(carry.bytes)
        self.hold(carry, home)
        return home

    def _hand_on(self, node: Node, body: Body, homes: Sequence[_Buffer]) -> None:
        """Gives the carries' last values to the loop's results, each at home if that is free."""
        for out, value, home in zip(node.outs, body.carried, homes, strict=False):
            buffer = self.buffers.get(value) or self.new(value.bytes)
            if home.pinned and not home.refs and home.bytes == buffer.bytes:
                buffer = home
            self.hold(out, buffer)


def _last_uses(
    nodes: Sequence[Node], outs: Sequence[Value]
) -> tuple[dict[Value, int], dict[Value, list[Node]]]:
    """The last operation that reads each value (results: never), and all that do."""
    last: dict[Value, int] = {}
    uses: dict[Value, list[Node]] = {}
    for i, node in enumerate(nodes):
        for value in node.ins:
            last[value] = i
            uses.setdefault(value, []).append(node)
    for value in outs:
        last[value] = _ENDLESS
        uses.setdefault(value, []).append(_RESULT)
    return last, uses


_RESULT = Node(Kind.COPY, "result", {}, [])


def _only_added(uses: Sequence[Node]) -> bool:
    return len(uses) == 1 and uses[0].name == "add"
