"""A function's body while it is lowered: where instructions go, registers, jumps, conversions.

Longer than most files because all forms of the language share the one class.
"""

from dataclasses import dataclass, field
from typing import Any, NoReturn

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import NONE, SRAM_WORDS, Kind, Op, Vector, operand
from waferllm.csl.code import Operand as Of
from waferllm.csl.diagnostics import fail
from waferllm.csl.lowering.program import ZERO, Instance, Program
from waferllm.csl.lowering.stream import (
    LEAVES,
    WRITES,
    A,
    Block,
    D,
    Instruction,
    Label,
    instruction,
)
from waferllm.csl.lowering.values import (
    Held,
    Located,
    Mem,
    Reg,
    RegVar,
    Unknown,
    field_offset,
    holds,
    is_known,
    kind_of,
    words_of,
)
from waferllm.csl.operators import coerce
from waferllm.csl.places import Constant, Scope
from waferllm.csl.source import Span
from waferllm.csl.values import VOID, Value, is_struct, type_of

SMALLEST_FILL = 4  # elements from which one vector instruction beats as many stores


class Join:
    """Where the ways through an expression meet: each brings a value, one is left."""

    def __init__(self, wanted: t.Type | None) -> None:
        self.label = Label()
        self.wanted = wanted
        self.ways: list[tuple[Block, Value, Span]] = []


@dataclass
class Loop:
    """A loop or labelled block that `break` and `continue` leave."""

    name: str | None
    out: Label | Join
    again: Label | None


@dataclass
class Frame:
    """What a `return` leaves: an inlined call, or the function itself (no join)."""

    join: Join | None
    result_type: t.Type
    addressed: frozenset[str]
    loops: list[Loop] = field(default_factory=list)


class Body:
    """Lowers one instance. `is_task`: it ends with `END` instead of returning."""

    def __init__(self, program: Program, instance: Instance, is_task: bool = False) -> None:
        self.program = program
        self.instance = instance
        self.is_task = is_task
        self.out = instance.body
        self.reachable = True
        addressed = program.addressed(instance.function.decl)
        self.frames = [Frame(None, instance.result_type, addressed)]
        self.depth = 0
        # Constants loaded before the outermost loop, while one is being lowered.
        self.before_loop: Block | None = None
        self.hoisted: dict[Any, int] = {}
        # Constants loaded since the last label, and the block in which that holds.
        self.nearby: dict[Any, int] = {}
        self.nearby_in: Block | None = None
        self.span = instance.function.decl.span

    # --- Instructions ----------------------------------------------------------------------------

    def emit(self, op: Op, **cells: Any) -> None:
        """Append an instruction, if anything leads there."""
        if not self.reachable:
            return
        row = instruction(op, self.span, **cells)
        for cell in row.cells:
            if isinstance(cell, Label):
                cell.uses += 1
        self.out.items.append(row)
        if op in LEAVES:
            self.reachable = False

    def compute(self, op: Op, type_: t.Type, **cells: Any) -> Reg:
        """Emit an instruction that writes a new register, with a value of `type_`."""
        result = Reg(type_, self.program.register(), fresh=True)
        self.emit(op, d=result.number, **cells)
        return result

    def place(self, label: Label) -> None:
        """Put a label here; a jump right before it goes away."""
        last = self.out.items[-1] if self.out.items else None
        if isinstance(last, Instruction) and last.cells[0] == Op.JUMP and last.cells[A] is label:
            self.out.items.pop()
            label.uses -= 1
            self.reachable = True
        self.out.items.append(label)
        self.nearby_in = None
        self.reachable = self.reachable or label.uses > 0

    def jump(self, label: Label) -> None:
        self.emit(Op.JUMP, a=label)

    def move(self, to: int, value: Reg) -> None:
        """Put a register's value into another; the instruction that made it writes there itself."""
        if to == value.number:
            return
        last = self.out.items[-1] if self.out.items else None
        if (
            self.reachable
            and value.fresh
            and isinstance(last, Instruction)
            and last.cells[0] in WRITES
            and last.cells[D] == value.number
        ):
            last.cells[D] = to
        else:
            self.emit(Op.MOVE, d=to, a=value.number)

    def constant(self, bits: Any) -> int:
        """A register with known bits; in a loop it is loaded before the loop."""
        if bits == 0:
            return ZERO
        if self.before_loop is None:
            return self._nearby(bits)
        if bits not in self.hoisted:
            number = self.hoisted[bits] = self.program.register()
            row = instruction(Op.CONST, self.span, d=number, a=self.program.constant(bits))
            self.before_loop.items.append(row)
        return self.hoisted[bits]

    def _nearby(self, bits: Any) -> int:
        """A constant's register; loaded once on a way that nothing joins."""
        if self.nearby_in is not self.out:
            self.nearby, self.nearby_in = {}, self.out
        if bits not in self.nearby:
            number = self.program.register()
            self.emit(Op.CONST, d=number, a=self.program.constant(bits))
            if not self.reachable:
                return number
            self.nearby[bits] = number
        return self.nearby[bits]

    def enter_loop(self) -> bool:
        """Begin a loop; whether it is the outermost, which `leave_loop` is to be told."""
        if self.before_loop is not None:
            return False
        self.before_loop = Block()
        self.out.items.append(self.before_loop)
        return True

    def leave_loop(self, outermost: bool) -> None:
        if outermost:
            self.before_loop = None
            self.hoisted = {}

    # --- Values in registers -----------------------------------------------------------------------

    def number(self, value: Value, span: Span) -> int:
        """The register with a scalar."""
        if isinstance(value, Reg):
            return value.number
        if not is_known(value):
            _no_register(value, span)
        return self.constant(self.program.bits(value, span))

    def read(self, place: Located) -> Value:
        """The value of a place."""
        if isinstance(place, Value):
            return place
        if isinstance(place, Mem):
            return self.load(place)
        return place.get()

    def load(self, place: Mem) -> Value:
        """What memory holds: a register, a struct of them, or an array where it lies."""
        type_ = place.type
        if isinstance(type_, t.ArrayType):
            return Held(place)
        if isinstance(type_, t.StructType):
            return Value(
                type_,
                {n: self.load(place.part(*field_offset(type_, n))) for n, _ in type_.fields},
            )
        kind = kind_of(type_)
        if kind is None:
            fail(f"a value of type {type_} cannot be read while the program runs", self.span)
        base = ZERO if place.base is None else place.base
        if _is_configuration(place):
            return self.compute(Op.GET_CONFIG, type_, a=self.constant(place.offset))
        return self.compute(Op.LOAD, type_, type=kind, a=base, b=place.offset)

    def store(self, place: Mem, value: Value, span: Span) -> None:
        """Write a value, already of the place's type, into memory."""
        if isinstance(place.type, t.ArrayType):
            self.store_array(place, value, span)
        elif isinstance(place.type, t.StructType):
            for name, held in value.data.items():
                self.store(place.part(*field_offset(place.type, name)), held, span)
        else:
            kind = kind_of(place.type)
            base = ZERO if place.base is None else place.base
            number = self.number(value, span)
            if _is_configuration(place):
                self.emit(Op.SET_CONFIG, a=self.constant(place.offset), b=number)
                return
            self.emit(Op.STORE, type=kind, d=number, a=base, b=place.offset)

    def store_array(self, place: Mem, value: Value, span: Span) -> None:
        assert isinstance(place.type, t.ArrayType)
        element, count = place.type.element, place.type.count
        words = words_of(element) or 0
        if (
            is_known(value)
            and len(set(map(repr, value.data))) == 1
            and kind_of(element) is not None
        ):
            held = Value(element, value.data[0])
            if count < SMALLEST_FILL or words > 2:
                for at in range(count):
                    self.store(place.part(element, at * words), held, span)
            else:
                self._fill(place, held, words, count, span)
            return
        source = value.place if isinstance(value, Held) else None
        if source is None:
            source = Mem(place.type, None, self.program.memory.of_value(value, span))
        self.emit(Op.COPY, d=self.address(place), a=self.address(source), b=words * count)

    def _fill(self, place: Mem, value: Value, words: int, count: int, span: Span) -> None:
        row = self.program.descriptors.dsds.row(element_words=words, rank=1)
        packed = count << 16 | words << 32 | row << 48
        dsd = self.compute(Op.DSD_ADDRESS, t.MEM1D, a=self.constant(packed), b=self.address(place))
        self.emit(
            Op.VECTOR,
            type=Vector.MOV16 if words == 1 else Vector.MOV32,
            d=NONE,
            a=operand(Of.DSD, dsd.number),
            b=operand(Of.SCALAR, self.number(value, span)),
            f=NONE,
            g=NONE,
        )

    def address(self, place: Mem) -> int:
        """The register with a place's address."""
        if place.base is None:
            return self.constant(place.offset)
        if place.offset == 0:
            return place.base
        more = self.constant(place.offset & 0xFFFF)
        return self.compute(Op.ADD, t.U16, type=Kind.U16, a=place.base, b=more).number

    def memory(self, place: Located, span: Span) -> Mem:
        """Where a known place, or a value's copy, lies in memory."""
        if isinstance(place, Mem):
            return place
        if isinstance(place, Held):
            return place.place
        if isinstance(place, Value) and not is_known(place):
            made = self.temporary(type_of(place), span)
            self.store(made, place, span)
            return made
        if isinstance(place, RegVar):
            return _no_register(place.get(), span)
        if isinstance(place, Value):
            place = Constant(place, "this", span)
        return Mem(type_of(place.get()), None, self.program.memory.address(place, span), const=True)

    def temporary(self, type_: t.Type, span: Span, name: str = "temporary") -> Mem:
        """A new place in memory; it belongs to this function's instance."""
        words = words_of(type_)
        if words is None:
            fail(f"a value of type {type_} has no place in memory", span)
        return Mem(type_, None, self.program.memory.allocate(name, words, span, min(2, words) or 1))

    # --- Conversions ---------------------------------------------------------------------------------

    def convert(self, value: Value, wanted: t.Type, span: Span) -> Value:
        """A value in the type that its place wants, where the language converts by itself."""
        if wanted in (t.ANYTYPE, value.type):
            return value
        if is_known(value):
            return coerce(value, wanted, span)
        if isinstance(value, Held):
            return self._mismatch(value, wanted, span)
        if isinstance(value, Reg):
            return self._convert_register(value, wanted, span)
        if wanted == t.COMPTIME_STRUCT:
            return value
        if value.type == t.ANON_STRUCT and type_of(value) == wanted:
            return Value(wanted, value.data)
        return self._mismatch(value, wanted, span)

    def _convert_register(self, value: Reg, wanted: t.Type, span: Span) -> Value:
        have = value.type
        if isinstance(have, t.PointerType) and isinstance(wanted, t.PointerType):
            target = have.target
            if wanted.many and not have.many and isinstance(target, t.ArrayType):
                target = target.element
            if target == wanted.target and (wanted.const or not have.const):
                return value.retyped(wanted)
        if holds(wanted, have):
            return value.retyped(wanted)
        return self._mismatch(value, wanted, span)

    def _mismatch(self, value: Value, wanted: t.Type, span: Span) -> NoReturn:
        numbers = (t.IntType, t.FloatType)
        hint = None
        if isinstance(value.type, numbers) and isinstance(wanted, numbers):
            hint = f"convert it: @as({wanted}, …)"
        fail(f"expected a value of type {wanted}, got one of type {type_of(value)}", span, hint)

    def keep(self, value: Value, span: Span) -> Value:
        """A value that later changes of variables do not touch."""
        if isinstance(value, Reg):
            if not value.owned:
                return value
            copy = Reg(value.type, self.program.register())
            self.emit(Op.MOVE, d=copy.number, a=value.number)
            return copy
        if isinstance(value, Held):
            made = self.temporary(value.type, span)
            self.store(made, value, span)
            return Held(made)
        if is_struct(value) and not is_known(value):
            return Value(value.type, {n: self.keep(v, span) for n, v in value.data.items()})
        return value

    # --- Slots: registers that several ways write -------------------------------------------------------

    def slot(self, type_: t.Type, span: Span, name: str = "temporary") -> Value:
        """Registers (and memory, for arrays) that hold a value of a type."""
        if type_ == t.VOID:
            return VOID
        if isinstance(type_, t.ArrayType):
            return Held(self.temporary(type_, span, name))
        if isinstance(type_, t.StructType):
            return Value(type_, {n: self.slot(each, span, name) for n, each in type_.fields})
        if kind_of(type_) is None:
            fail(f"a value of type {type_} exists only at compile time", span)
        return Reg(type_, self.program.register())

    def put(self, slot: Value, value: Value, span: Span) -> None:
        """Move a value, already of the slot's type, into a slot."""
        if isinstance(slot, Held):
            self.store(slot.place, value, span)
        elif isinstance(slot, Reg):
            if isinstance(value, Reg):
                self.move(slot.number, value)
            elif self.reachable:
                bits = self.program.bits(value, span)
                self.emit(Op.CONST, d=slot.number, a=self.program.constant(bits))
        elif is_struct(slot):
            for name, each in slot.data.items():
                self.put(each, value.data[name], span)

    def bring(self, join: Join, value: Value, span: Span, jump: bool = True) -> None:
        """One way into a join, with its value."""
        if not self.reachable:
            return
        block = Block()
        self.out.items.append(block)
        join.ways.append((block, value, span))
        if jump:
            self.jump(join.label)

    def joined(self, join: Join, span: Span) -> Value:
        """Place the join's label; the value that all ways have put there."""
        self.place(join.label)
        if not join.ways:
            return VOID
        if len(join.ways) == 1:
            value = join.ways[0][1]
            return value if join.wanted is None else self.convert(value, join.wanted, span)
        type_ = join.wanted or _common(join)
        if type_ == t.VOID or all(value.type == t.VOID for _, value, _ in join.ways):
            return VOID
        slot = self.slot(type_, span)
        out, reachable = self.out, self.reachable
        for block, value, where in join.ways:
            self.out, self.reachable = block, True
            self.put(slot, self.convert(value, type_, where), where)
        self.out, self.reachable = out, reachable
        return slot

    # --- Forms ------------------------------------------------------------------------------------------

    def expr(self, node: s.Node, scope: Scope, wanted: t.Type | None = None) -> Value:
        """An expression's value; `wanted` is what its place would like, not a promise."""
        from waferllm.csl.lowering.expressions import FORMS

        span, self.span = self.span, node.span
        try:
            return FORMS[type(node)](self, node, scope, wanted)
        except Unknown:
            fail("this has to be known at compile time, and is not", node.span)
        finally:
            self.span = span

    def expr_as(self, node: s.Node, scope: Scope, wanted: t.Type) -> Value:
        """An expression's value in a type."""
        return self.convert(self.expr(node, scope, wanted), wanted, node.span)

    def known(self, node: s.Node, scope: Scope) -> Value:
        """An expression's value, which has to be known."""
        found = self.expr(node, scope)
        if not is_known(found):
            fail("this has to be known at compile time, and is not", node.span)
        return found

    def type(self, node: s.Node, scope: Scope) -> t.Type:
        """The type that an expression names."""
        found = self.known(node, scope)
        if found.type != t.TYPE:
            fail(f"expected a type, got a value of type {type_of(found)}", node.span)
        return found.data


def _is_configuration(place: Mem) -> bool:
    """Whether a place is a configuration word: those lie beyond the memory."""
    return place.base is None and place.offset >= SRAM_WORDS and words_of(place.type) == 1


def _no_register(value: Value, span: Span) -> NoReturn:
    fail(f"a value of type {type_of(value)} does not fit into a register", span)


def _common(join: Join) -> t.Type:
    """The type of the first way that has one of its own."""
    soft = {t.COMPTIME_INT, t.COMPTIME_FLOAT}
    types = [type_of(value) for _, value, _ in join.ways]
    return next((each for each in types if each not in soft), types[0])
