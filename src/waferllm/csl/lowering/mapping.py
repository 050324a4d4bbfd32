"""`@map`: a loop that reads an element of each DSD, calls a function, and writes what it returns.

Elements of memory are loads and stores that step their address, as the hardware's DSRs do; elements of a
fabric DSD are moved by a vector operation of length one.
"""

from abc import ABC, abstractmethod

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import NONE, Kind, Op, Vector, operand
from waferllm.csl.code import Operand as Of
from waferllm.csl.diagnostics import fail, unsupported
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.calls import call_function
from waferllm.csl.lowering.stream import Label
from waferllm.csl.lowering.values import DSDS, Mem, Reg, bound, is_known, kind_of, words_of
from waferllm.csl.places import Scope
from waferllm.csl.source import Span
from waferllm.csl.values import VOID, Dsr, Function, Value, integer, type_of

ADDRESS, LENGTH, STRIDE = range(3)  # parts of a DSD


class Walk(ABC):
    """An operand that is gone through element by element."""

    def __init__(self, body: Body, element: t.Type, span: Span) -> None:
        self.body = body
        self.element = element
        self.span = span
        if kind_of(element) is None or words_of(element) not in {1, 2} or element == t.BOOL:
            fail(f"@map reads and writes numbers of 16 or 32 bits, not a {element}", span)

    length: Value  # elements, as a u16
    dsd: Value
    from_dsr: bool

    @abstractmethod
    def read(self) -> Value:
        """The next element."""

    @abstractmethod
    def write(self, value: Value) -> None:
        """Store the next element."""

    def step(self) -> None:  # noqa: B027 - a fabric DSD has nothing to step
        """On to the next element."""


class MemoryWalk(Walk):
    """A mem1d_dsd: an address and a stride.

    A DSD does not know what lies there: its stride counts elements, of whatever width is read.
    """

    def __init__(self, body: Body, dsd: Value, element: t.Type, span: Span) -> None:
        super().__init__(body, element, span)
        self.length = _length(body, dsd, span)
        words = words_of(element) or 0
        if is_known(dsd):
            address: Value = integer(body.program.bits(dsd, span) & 0xFFFF, t.U16)
            (stride,) = dsd.data.properties["stride"].data.values()
            self.stride: Value = integer(stride.data * words & 0xFFFF, t.U16)
        else:
            address = _part(body, dsd, ADDRESS, span)
            self.stride = _part(body, dsd, STRIDE, span, words)
        self.address = Reg(t.U16, body.program.register())
        body.put(self.address, address, span)

    def read(self) -> Value:
        kind, at, by = kind_of(self.element), self.address.number, self._step()
        return self.body.compute(Op.LOAD_NEXT, self.element, type=kind, a=at, c=by)

    def write(self, value: Value) -> None:
        number, kind = self.body.number(value, self.span), kind_of(self.element)
        self.body.emit(Op.STORE_NEXT, type=kind, d=number, a=self.address.number, c=self._step())

    def _step(self) -> int:
        return self.body.number(self.stride, self.span)


class BoxWalk(Walk):
    """A known mem4d_dsd: an address, and a counter for each dimension."""

    def __init__(self, body: Body, dsd: Value, element: t.Type, span: Span) -> None:
        super().__init__(body, element, span)
        held = dsd.data.properties
        words = words_of(element) or 0
        # Innermost first; a stride includes the way back of the dimensions inside of it.
        self.extents = [each.data for each in held["extent"].data.values()][::-1]
        self.strides = [each.data * words for each in held["stride"].data.values()]
        count = 1
        for each in self.extents:
            count *= each
        self.length = integer(count, t.U16)
        packed = body.program.bits(dsd, span)
        self.address = Reg(t.U16, body.program.register())
        body.put(self.address, integer(packed & 0xFFFF, t.U16), span)
        self.counters = [Reg(t.U16, body.program.register()) for _ in self.extents[:-1]]
        for each in self.counters:
            body.put(each, integer(0, t.U16), span)

    def read(self) -> Value:
        return self.body.load(Mem(self.element, self.address.number, 0))

    def write(self, value: Value) -> None:
        self.body.store(Mem(self.element, self.address.number, 0), value, self.span)

    def step(self) -> None:
        body, at, done = self.body, self.address.number, Label()
        for depth, stride in enumerate(self.strides):
            carry = Label()
            if depth < len(self.counters):
                number = self.counters[depth].number
                body.emit(Op.ADD, type=Kind.U16, d=number, a=number, b=body.constant(1))
                extent = body.constant(self.extents[depth])
                full = body.compute(Op.EQ, t.BOOL, type=Kind.U16, a=number, b=extent)
                body.emit(Op.JUMP_IF, a=full.number, b=carry)
            by = body.constant(stride & 0xFFFF)
            body.emit(Op.ADD, type=Kind.U16, d=at, a=at, b=by)
            if depth < len(self.counters):
                body.jump(done)
                body.place(carry)
                body.put(self.counters[depth], integer(0, t.U16), self.span)
        body.place(done)


class FabricWalk(Walk):
    """A fabin_dsd or fabout_dsd: each element is a vector operation of length one."""

    def __init__(self, body: Body, dsd: Value, element: t.Type, span: Span) -> None:
        super().__init__(body, element, span)
        self.length = _length(body, dsd, span)
        a, b = body.number(dsd, span), body.constant(1)
        one = body.compute(Op.DSD_LENGTH, dsd.type, a=a, b=b)
        self.one = operand(Of.DSD, one.number)
        self.move = Vector.MOV16 if words_of(element) == 1 else Vector.MOV32
        self.buffer = body.temporary(element, span, "@map")

    def read(self) -> Value:
        to = operand(Of.POINTER, self.body.constant(self.buffer.offset))
        if self.buffer.offset == 0:
            to = operand(Of.POINTER, 0)
        self.body.emit(Op.VECTOR, type=self.move, d=NONE, a=to, b=self.one, f=NONE, g=NONE)
        return self.body.load(self.buffer)

    def write(self, value: Value) -> None:
        source = operand(Of.SCALAR, self.body.number(value, self.span))
        self.body.emit(Op.VECTOR, type=self.move, d=NONE, a=self.one, b=source, f=NONE, g=NONE)


def _part(body: Body, dsd: Value, which: int, span: Span, words: int = 1) -> Reg:
    """Address, length or stride of a DSD in a register."""
    number = body.number(dsd, span)
    return body.compute(Op.DSD_PART, t.U16, a=number, b=which, c=words)


def _length(body: Body, dsd: Value, span: Span) -> Value:
    if is_known(dsd):
        return integer(body.program.bits(dsd, span) >> 16 & 0xFFFF, t.U16)
    return _part(body, dsd, LENGTH, span)


def _walk(body: Body, dsd: Value, element: t.Type, span: Span, from_dsr: bool) -> Walk:
    made: Walk | None = None
    if dsd.type == t.MEM1D:
        made = MemoryWalk(body, dsd, element, span)
    elif dsd.type in {t.FABIN, t.FABOUT}:
        made = FabricWalk(body, dsd, element, span)
    elif dsd.type == t.MEM4D and is_known(dsd):
        made = BoxWalk(body, dsd, element, span)
    if made is not None:
        made.dsd, made.from_dsr = dsd, from_dsr
        return made
    return unsupported(f"@map over a {dsd.type} that the running program makes", span)


# --- The loop --------------------------------------------------------------------------------------


def map_(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """`@map(function, inputs …, output)`."""
    del wanted
    if not node.args:
        fail("@map takes a function and its operands", node.span)
    callee = body.known(node.args[0], scope)
    if not isinstance(callee.data, Function):
        fail(f"expected a function, got a value of type {type_of(callee)}", node.args[0].span)
    type_ = body.program.ev.function_type(callee.data)
    operands = [(bound(body.expr(each, scope)), each.span) for each in node.args[1:]]
    has_output = type_.result != t.VOID
    if len(operands) != len(type_.params) + has_output:
        shown = f"{len(type_.params)} inputs{' and an output' if has_output else ''}"
        fail(f"this @map takes {shown}, got {len(operands)} operand(s)", node.span)
    inputs = [
        _input(body, value, element, span)
        for (value, span), element in zip(operands, type_.params, strict=False)
    ]
    output = _output(body, *operands[-1], type_.result) if has_output else None
    walks = [each for each in (*inputs, output) if isinstance(each, Walk)]
    if not walks:
        fail("@map needs a DSD among its operands", node.span)
    _loop(body, callee.data, inputs, output, walks, node)
    return VOID


def _input(body: Body, value: Value, element: t.Type, span: Span) -> Walk | Value:
    value, from_dsr = _held(body, value, span)
    if value.type == t.FABOUT:
        fail("a fabout_dsd cannot be an input of @map", span)
    if value.type in DSDS and value.type != element:
        return _walk(body, value, element, span, from_dsr)
    if value.type == t.FIFO:
        fail("a FIFO cannot be an operand of @map", span)
    return value


def _output(body: Body, value: Value, span: Span, element: t.Type) -> Walk | Mem:
    value, from_dsr = _held(body, value, span)
    if isinstance(value.type, t.PointerType):
        if value.type.target != element or value.type.const:
            fail(f"the output is a {value.type}, the function returns a {element}", span)
        if isinstance(value, Reg):
            return Mem(element, value.number, 0)
        return Mem(element, None, body.program.bits(value, span))
    if value.type not in DSDS or value.type == t.FABIN:
        fail(f"the output of @map is a DSD or a pointer, got {type_of(value)}", span)
    return _walk(body, value, element, span, from_dsr)


def _held(body: Body, value: Value, span: Span) -> tuple[Value, bool]:
    """The DSD of an operand that is a DSR, and whether it is one."""
    if isinstance(value, Reg) or not is_known(value) or not isinstance(value.data, Dsr):
        return value, False
    found = body.program.stepped.get(value.data)
    if found is None:
        hint = "a function has to do that before, with @load_to_dsr(…, .{ .single_step = true })"
        unsupported("@map over a DSR into which no DSD was loaded for it", span, hint)
    return found, True


def _consume(body: Body, walks: list[Walk], taken: Value, span: Span) -> None:
    """DSRs go on after the elements that a @map took."""
    for each in walks:
        if not each.from_dsr:
            continue
        assert isinstance(each.dsd, Reg)
        number = each.dsd.number
        if isinstance(each, MemoryWalk):
            body.emit(Op.DSD_ADDRESS, d=number, a=number, b=each.address.number)
        counts = (body.number(each.length, span), body.number(taken, span))
        left = body.compute(Op.SUB, t.U16, type=Kind.U16, a=counts[0], b=counts[1])
        body.emit(Op.DSD_LENGTH, d=number, a=number, b=left.number)


def _loop(
    body: Body,
    function: Function,
    inputs: list[Walk | Value],
    output: Walk | Mem | None,
    walks: list[Walk],
    node: s.Builtin,
) -> None:
    left = _shortest(body, walks, node.span)
    outermost = body.enter_loop()
    top, out = Label(), Label()
    if isinstance(left, Reg):
        body.emit(Op.JUMP_UNLESS, a=left.number, b=out)
    elif left.data == 0:
        body.leave_loop(outermost)
        return
    counter = Reg(t.U16, body.program.register())
    body.put(counter, left, node.span)
    body.place(top)
    body.reachable = True
    args = [bound(each.read()) if isinstance(each, Walk) else each for each in inputs]
    spans = [each.span for each in node.args[1 : 1 + len(inputs)]]
    result = call_function(body, function, lambda at, _: args[at], spans, node.span, inline=True)
    if isinstance(output, Walk):
        output.write(result)
    elif output is not None:
        body.store(output, result, node.span)
    for each in walks:
        each.step()
    body.emit(Op.LOOP, a=counter.number, b=top)
    body.place(out)
    body.leave_loop(outermost)
    _consume(body, walks, left, node.span)


def _shortest(body: Body, walks: list[Walk], span: Span) -> Value:
    """The least of the lengths."""
    known = [each.length.data for each in walks if is_known(each.length)]
    rest = [each.length for each in walks if not is_known(each.length)]
    least: Value | None = integer(min(known), t.U16) if known else None
    for each in rest:
        if least is None:
            least = each
            continue
        smaller = Reg(t.U16, body.program.register())
        body.put(smaller, each, span)
        a = body.number(least, span)
        past = Label()
        less = body.compute(Op.LT, t.BOOL, type=Kind.U16, a=smaller.number, b=a)
        body.emit(Op.JUMP_IF, a=less.number, b=past)
        body.emit(Op.MOVE, d=smaller.number, a=a)
        body.place(past)
        least = smaller
    assert least is not None
    return least
