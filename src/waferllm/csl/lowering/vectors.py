"""DSD operations, and what makes and changes DSDs while the program runs."""

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.builtins import BUILTINS
from waferllm.csl.builtins_dsd import FIELDS, NEEDED, check_load
from waferllm.csl.code import NONE, Kind, Op, Vector, operand
from waferllm.csl.code import Operand as Of
from waferllm.csl.diagnostics import fail, nearest, unsupported
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.descriptors import dsr_key, element_words
from waferllm.csl.lowering.places import address_of, locate
from waferllm.csl.lowering.values import DSDS, Reg, is_known, kind_of
from waferllm.csl.operators import coerce
from waferllm.csl.places import Scope
from waferllm.csl.source import Span
from waferllm.csl.values import VOID, Dsd, Dsr, Value, integer, is_struct, struct_of, type_of

# --- Operations ------------------------------------------------------------------------------------

# Elements of destination, first and second source, scalar: i and w integers of 16 and 32 bits, h the
# 16-bit float, s f32. Forms: the SDK documentation's page on builtins, "Builtins for DSD Operations".
_FORMS: dict[str, str] = {
    **dict.fromkeys("mov16 popcnt clz ctz".split(), "ii"),
    **dict.fromkeys("add16 addc16 sub16 mul16 and16 or16 xor16 sll16 slr16 sar16".split(), "iii"),
    "mov32": "ww", "add32": "www", "sub32": "www",
    **dict.fromkeys("fmovh fnegh fabsh fnormh".split(), "hh"),
    **dict.fromkeys("fmovs fnegs fabss fnorms".split(), "ss"),
    **dict.fromkeys("faddh fsubh fmulh fmaxh".split(), "hhh"),
    **dict.fromkeys("fadds fsubs fmuls fmaxs".split(), "sss"),
    "faddhs": "ssh", "fmach": "hhhh", "fmacs": "ssss", "fmachs": "sshh",
    "fscaleh": "hhi", "fscales": "ssi", "fh2s": "sh", "fs2h": "hs", "fh2xp16": "ih",
    "fs2xp16": "is", "xp162fh": "hi", "xp162fs": "si",
}  # fmt: skip
VECTORS = frozenset(_FORMS) | {"dfilt"}
_CELLS = "abce"


def vector(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """A DSD operation; its value says whether a FIFO operation ran to its end."""
    if node.name == "dfilt":
        return _dfilt(body, node, scope)
    form = _FORMS[node.name]
    args = list(node.args)
    settings: dict[str, Value] = {}
    if len(args) == len(form) + 1:
        last = args.pop()
        settings = _settings(body.expr(last, scope), last.span)
    if len(args) != len(form):
        fail(f"@{node.name} takes {len(form)} operands, got {len(args)}", node.span)
    cells = {"a": _operand(body, body.expr(args[0], scope), form[0], "a", args[0].span)}
    for cell, letter, arg in zip(_CELLS[1:], form[1:], args[1:], strict=False):
        # `@fmaxs(&x, x, dsd)` accumulates: the source is the destination, element after element.
        if _is_target(args[0], arg):
            cells[cell] = cells["a"]
        else:
            cells[cell] = _operand(body, body.expr(arg, scope), letter, cell, arg.span)
    return _operate(body, Vector[node.name.upper()], cells, settings, node.span, wanted)


def _is_target(pointer: s.Node, source: s.Node) -> bool:
    """Whether a source is written as what the destination points to."""
    if isinstance(pointer, s.Unary) and pointer.op == "&":
        return pointer.operand == source
    return isinstance(source, s.Deref) and source.operand == pointer


def _operate(
    body: Body,
    op: Vector,
    cells: dict[str, int],
    settings: dict[str, Value],
    span: Span,
    wanted: t.Type | None = t.VOID,
) -> Value:
    index = settings.pop("index", None)
    g = NONE if index is None else body.number(body.convert(index, t.U16, span), span)
    f = body.program.descriptors.option_row(settings, span)
    if wanted == t.VOID:
        body.emit(Op.VECTOR, type=op, d=NONE, f=f, g=g, **cells)
        return VOID
    # Not `compute`: the register of a vector's result is no ordinary destination.
    result = Reg(t.BOOL, body.program.register())
    body.emit(Op.VECTOR, type=op, d=result.number, f=f, g=g, **cells)
    return result


def _dfilt(body: Body, node: s.Builtin, scope: Scope) -> Value:
    if len(node.args) != 2:
        fail(f"@dfilt takes a fabin_dsd and settings, got {len(node.args)} arguments", node.span)
    settings = _settings(body.expr(node.args[1], scope), node.args[1].span)
    if "async" not in settings or settings["async"].data is not True:
        fail("@dfilt needs .async = true", node.args[1].span)
    source = body.expr(node.args[0], scope)
    if source.type not in {t.FABIN, t.DSR_SRC1}:
        fail(f"@dfilt takes a fabin_dsd, got a value of type {type_of(source)}", node.span)
    cells = {"b": _operand(body, source, "w", "b", node.args[0].span)}
    return _operate(body, Vector.DFILT, cells, settings, node.span)


def _settings(found: Value, span: Span) -> dict[str, Value]:
    if not is_struct(found):
        fail(f"expected settings, got a value of type {type_of(found)}", span)
    for name, value in found.data.items():
        if name != "index" and not is_known(value):
            unsupported(f"the setting '{name}' with a value of the running program", span)
    return dict(found.data)


def _operand(body: Body, value: Value, letter: str, cell: str, span: Span) -> int:
    """An operand as the instruction holds it."""
    type_ = value.type
    if type_ == t.CIRCBUF:
        hint = "load it with @load_to_dsr_xdsr and use the DSR"
        fail("a circbuf_dsd cannot be an operand itself", span, hint)
    if type_ in DSDS or type_ == t.FIFO:
        if type_ == t.FABIN and cell == "a":
            fail("a fabin_dsd cannot be written to", span)
        if type_ == t.FABOUT and cell != "a":
            fail("a fabout_dsd cannot be read from", span)
        return operand(Of.DSD, body.number(value, span))
    if not isinstance(value, Reg) and isinstance(value.data, Dsr):
        file, number = dsr_key(value.data, span)
        if cell != "a" and value.type == t.DSR_DEST:
            fail("a dsr_dest cannot be read from", span)
        return operand(Of.DSR, file << 8 | number)
    if isinstance(type_, t.PointerType):
        element = type_.target
        if isinstance(element, t.ArrayType):
            fail(
                f"a {type_} is no operand: expected a DSD, a DSR or a pointer to one element", span
            )
        if _width(letter) != _bits(element):
            fail(f"expected a pointer to {_width(letter)} bits, got a {type_}", span)
        return operand(Of.POINTER, body.number(value, span))
    if cell == "a":
        fail(
            f"the destination is a value of type {type_of(value)}, not a DSD, DSR or pointer", span
        )
    return operand(Of.SCALAR, body.number(scalar(body, value, letter, span), span))


def _width(letter: str) -> int:
    return 16 if letter in "ih" else 32


def _bits(type_: t.Type) -> int | None:
    return type_.bits if isinstance(type_, (t.IntType, t.FloatType)) else None


def scalar(body: Body, value: Value, letter: str, span: Span) -> Value:
    """A scalar operand in the element's type."""
    if letter in "hs":
        return body.convert(value, body.program.target.fp16 if letter == "h" else t.F32, span)
    width = _width(letter)
    if value.type == t.COMPTIME_INT:
        signed = t.IntType(width, True)
        fits = signed.lowest <= value.data <= signed.highest
        return coerce(value, signed if fits else t.IntType(width, False), span)
    bits = _bits(value.type)
    if isinstance(value.type, t.IntType) and bits is not None and bits < width:
        return body.convert(value, t.IntType(width, value.type.signed), span)
    if bits != width:
        fail(f"expected a value of {width} bits, got one of type {type_of(value)}", span)
    return value


# --- DSDs ------------------------------------------------------------------------------------------


def get_dsd(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """`@get_dsd`: a value if its properties are known, else a register."""
    del wanted
    if len(node.args) != 2:
        fail(f"@get_dsd takes 2 arguments, got {len(node.args)}", node.span)
    kind = body.type(node.args[0], scope)
    given = body.expr(node.args[1], scope)
    if is_known(given) and is_struct(given):
        return BUILTINS["get_dsd"].run(body.program.ev, node, [Value(t.TYPE, kind), given])
    fields = dict(given.data) if is_struct(given) else {}
    for name in fields:
        if kind in FIELDS and name not in FIELDS[kind]:
            fail(f"a {kind} has no '{name}'", node.span, nearest(name, FIELDS[kind]))
    for name in NEEDED.get(kind, ()):
        if name not in fields:
            fail(f"a {kind} needs '{name}'", node.span)
    if kind == t.MEM1D:
        return _run_time_mem1d(body, node, fields)
    if kind in {t.FABIN, t.FABOUT}:
        return _run_time_fabric(body, node, kind, fields)
    offset = fields.get("offset", integer(0))
    if kind == t.MEM4D and not is_known(offset):
        known = _known_struct({**fields, "offset": integer(0)}, kind, node.span)
        made = BUILTINS["get_dsd"].run(body.program.ev, node, [Value(t.TYPE, kind), known])
        words = element_words(fields["base_address"], node.span)
        offset = body.convert(offset, t.I16, node.span)
        return _changed(body, Op.DSD_ADVANCE, made, offset, node.span, c=words)
    return unsupported(f"a {kind} with properties of the running program", node.span)


def _known_struct(fields: dict[str, Value], kind: t.Type, span: Span) -> Value:
    """Properties that all have to be known."""
    for name, value in fields.items():
        if not is_known(value):
            unsupported(f"a {kind} with '{name}' from the running program", span)
    return struct_of(fields)


def _run_time_mem1d(body: Body, node: s.Builtin, fields: dict[str, Value]) -> Value:
    span = node.span
    base = fields["base_address"]
    if not isinstance(base.type, t.PointerType):
        fail(f"base_address: expected a pointer, got a {type_of(base)}", span, "use &")
    extent, stride = _single(fields["extent"], span), fields.get("stride", integer(1))
    offset = fields.get("offset", integer(0))
    stride = _single(stride, span)
    wanted = ((extent, t.U16), (stride, t.I8), (offset, t.I16))
    extent, stride, offset = (body.convert(value, type_, span) for value, type_ in wanted)
    nothing = Value(base.type, None)
    known = {name: held for name, held in fields.items() if name == "wavelet_index_offset"}
    known |= {
        "base_address": base if is_known(base) else nothing,
        "extent": struct_of({"0": extent if is_known(extent) else integer(0, t.U16)}),
        "stride": struct_of({"0": stride if is_known(stride) else integer(0, t.I8)}),
        "offset": offset if is_known(offset) and is_known(base) else integer(0, t.I16),
    }
    made: Value = Value(t.MEM1D, Dsd(known))
    words = element_words(base, span)
    if not is_known(base):
        made = _changed(body, Op.DSD_ADDRESS, made, base, span)
    if not is_known(offset) or (not is_known(base) and offset.data):
        made = _changed(body, Op.DSD_ADVANCE, made, offset, span, c=words)
    if not is_known(extent):
        made = _changed(body, Op.DSD_LENGTH, made, extent, span)
    if not is_known(stride):
        made = _changed(body, Op.DSD_STRIDE, made, stride, span)
    return made


def _single(value: Value, span: Span) -> Value:
    """`n` or `.{ n }`."""
    if not is_struct(value):
        return value
    if len(value.data) != 1:
        fail(f"a mem1d_dsd has one dimension, got {len(value.data)}", span)
    return value.data["0"]


def _run_time_fabric(body: Body, node: s.Builtin, kind: t.Type, fields: dict[str, Value]) -> Value:
    extent = body.convert(fields["extent"], t.U16, node.span)
    known = _known_struct(fields | {"extent": integer(0, t.U16)}, kind, node.span)
    made = BUILTINS["get_dsd"].run(body.program.ev, node, [Value(t.TYPE, kind), known])
    return _changed(body, Op.DSD_LENGTH, made, extent, node.span)


def _changed(body: Body, op: Op, dsd: Value, by: Value, span: Span, **cells: int) -> Reg:
    a, b = body.number(dsd, span), body.number(by, span)
    return body.compute(op, dsd.type, a=a, b=b, **cells)


_CHANGES = {
    "set_dsd_base_addr": (Op.DSD_ADDRESS, (t.MEM1D, t.MEM4D), None),
    "set_dsd_length": (Op.DSD_LENGTH, (t.MEM1D, t.CIRCBUF, t.FABIN, t.FABOUT), t.U16),
    "set_dsd_stride": (Op.DSD_STRIDE, (t.MEM1D,), t.I8),
}


def set_dsd(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """`@set_dsd_base_addr`, `@set_dsd_length`, `@set_dsd_stride`: a new DSD."""
    del wanted
    op, kinds, type_ = _CHANGES[node.name]
    _count_args(node, 2)
    dsd = _dsd(body, node, scope, kinds)
    if type_ is None:
        by = _pointer(body, node.args[1], scope)
    else:
        by = body.expr_as(node.args[1], scope, type_)
    if is_known(dsd) and is_known(by):
        return BUILTINS[node.name].run(body.program.ev, node, [dsd, by])
    return _changed(body, op, dsd, by, node.span)


def _pointer(body: Body, node: s.Expr, scope: Scope) -> Value:
    """A pointer, or where an array begins."""
    place = locate(body, node, scope)
    by = body.read(place)
    if isinstance(by.type, t.ArrayType):
        by = address_of(body, place, node.span)
    if not isinstance(by.type, t.PointerType):
        fail(f"expected a pointer, got a value of type {type_of(by)}", node.span)
    return by


def set_dsr(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """`@set_dsr_base_addr` and `@set_dsr_length`: of the DSD that a DSR holds."""
    del wanted
    _count_args(node, 2)
    dsr = body.known(node.args[0], scope)
    if not isinstance(dsr.data, Dsr):
        fail(f"@{node.name} takes a DSR, got {type_of(dsr)}", node.args[0].span)
    length = node.name == "set_dsr_length"
    by = body.expr_as(node.args[1], scope, t.U16) if length else _pointer(body, node.args[1], scope)
    file, number = dsr_key(dsr.data, node.span)
    a = operand(Of.DSR, file << 8 | number)
    body.emit(Op.SET_DSR, a=a, b=body.number(by, node.span), c=int(length))
    return VOID


def increment_dsd_offset(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """`@increment_dsd_offset(dsd, elements, T)`."""
    del wanted
    _count_args(node, 3)
    dsd = _dsd(body, node, scope, (t.MEM1D, t.MEM4D))
    by = body.expr(node.args[1], scope)
    element = body.type(node.args[2], scope)
    words = {16: 1, 32: 2}.get(_bits(element) or 0)
    if words is None:
        fail(f"expected a number type of 16 or 32 bits, got {element}", node.args[2].span)
    if is_known(by):
        by = coerce(by, t.I16, node.args[1].span)
        same = (
            is_known(dsd) and element_words(dsd.data.properties["base_address"], node.span) == words
        )
        if same:
            type_ = Value(t.TYPE, element)
            return BUILTINS[node.name].run(body.program.ev, node, [dsd, by, type_])
    elif kind_of(by.type) not in {Kind.I16, Kind.U16, Kind.I8, Kind.U8}:
        fail(f"expected an i16, got a value of type {type_of(by)}", node.args[1].span)
    return _changed(body, Op.DSD_ADVANCE, dsd, by, node.span, c=words)


def _count_args(node: s.Builtin, count: int) -> None:
    if len(node.args) != count:
        fail(f"@{node.name} takes {count} arguments, got {len(node.args)}", node.span)


def _dsd(body: Body, node: s.Builtin, scope: Scope, kinds: tuple[t.Type, ...]) -> Value:
    found = body.expr(node.args[0], scope)
    if found.type not in kinds:
        names = " or ".join(map(str, kinds))
        fail(f"@{node.name} takes a {names}, got {type_of(found)}", node.args[0].span)
    return found


def load_to_dsr(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """`@load_to_dsr` and its forms for circular buffers and boxes."""
    del wanted
    args = [body.expr(each, scope) for each in node.args]
    dsr, dsd, settings = check_load(node, args)
    if isinstance(dsr, Reg):
        fail("which DSR this is has to be known at compile time", node.args[0].span)
    check_dsr(dsr.data, dsd.type, node.span)
    held = {} if settings is None else _settings(settings, node.args[-1].span)
    row = body.program.descriptors.option_row(held, node.span)
    file, number = dsr_key(dsr.data, node.span)
    a = operand(Of.DSR, file << 8 | number)
    body.emit(Op.LOAD_DSR, a=a, b=body.number(dsd, node.span), f=row)
    if "single_step" in held:
        kept = body.program.stepped.get(dsr.data)
        if kept is None or kept.type != dsd.type:
            kept = body.program.stepped[dsr.data] = Reg(dsd.type, body.program.register())
        body.put(kept, dsd, node.span)
    return VOID


def check_dsr(dsr: Dsr, type_: t.Type, span: Span) -> None:
    """Stop if a DSR of this file cannot hold such a DSD."""
    if type_ == t.FABIN and dsr.file == str(t.DSR_DEST):
        fail("a fabin_dsd cannot be loaded to a dsr_dest", span)
    if type_ == t.FABOUT and dsr.file != str(t.DSR_DEST):
        fail(f"a fabout_dsd cannot be loaded to a {dsr.file}", span)


def set_fifo_length(body: Body, node: s.Builtin, scope: Scope, wanted: t.Type | None) -> Value:
    """`@set_fifo_read_length` and `@set_fifo_write_length`."""
    del wanted
    _count_args(node, 2)
    fifo = body.known(node.args[0], scope)
    if fifo.type != t.FIFO:
        fail(f"expected a FIFO, got a value of type {type_of(fifo)}", node.args[0].span)
    length = body.expr_as(node.args[1], scope, t.U16)
    a = body.number(fifo, node.span)
    writes = int(node.name == "set_fifo_write_length")
    body.emit(Op.FIFO_LENGTH, a=a, b=body.number(length, node.span), c=writes)
    return VOID
