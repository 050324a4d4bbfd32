"""Builtins that make descriptors: DSDs, DSRs. Values only; what they do is the machine's."""

from typing import TYPE_CHECKING

from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.arguments import as_number, as_struct, as_type
from waferllm.csl.builtins import builtin
from waferllm.csl.diagnostics import fail, nearest
from waferllm.csl.operators import coerce
from waferllm.csl.places import Scope
from waferllm.csl.source import Span
from waferllm.csl.values import Dsd, Dsr, Value, integer, is_struct, show, struct_of, type_of

if TYPE_CHECKING:
    from waferllm.csl.evaluate import Evaluator

_MEMORY = {"tensor_access", "base_address", "offset", "stride", "extent", "wavelet_index_offset"}
_FABRIC = {"extent", "fabric_color", "priority", "simd_mode", "control", "wavelet_index_offset"}
FIELDS: dict[t.Type, set[str]] = {
    t.MEM1D: _MEMORY,
    t.MEM4D: _MEMORY,
    t.CIRCBUF: _MEMORY | {"wraparound"},
    t.FABIN: _FABRIC | {"input_queue", "control_transform"},
    t.FABOUT: _FABRIC | {"output_queue", "control_transform", "advance_switch", "zero"},
}
NEEDED: dict[t.Type, tuple[str, ...]] = {
    t.MEM1D: ("base_address", "extent"),
    t.MEM4D: ("base_address", "extent"),
    t.CIRCBUF: ("base_address", "extent"),
    t.FABIN: ("extent",),
    t.FABOUT: ("extent",),
}
_ACCESS = {"base_address", "offset", "stride", "extent"}
FIFO_FIELDS = {
    "activate_push",
    "activate_pop",
    "empty_action",
    "full_action",
}
DSR_COUNT: dict[t.Type, int] = {
    t.DSR_DEST: 16,
    t.DSR_SRC0: 16,
    t.DSR_SRC1: 16,
    t.XDSR: 16,
    t.SR: 16,
}


@builtin("get_dsd", 2)
def _get_dsd(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    kind, span = as_type(args[0], node.args[0].span), node.args[1].span
    if kind not in FIELDS:
        fail(
            f"{kind} is not a kind of DSD", node.args[0].span, nearest(str(kind), map(str, FIELDS))
        )
    fields = dict(as_struct(args[1], span))
    for name in fields:
        if name not in FIELDS[kind]:
            fail(f"a {kind} has no '{name}'", span, nearest(name, FIELDS[kind]))
    access = fields.pop("tensor_access", None)
    if access is not None:
        given = as_struct(access, span)
        twice = given.keys() & fields.keys()
        if twice or given.keys() - _ACCESS:
            bad = sorted(twice or given.keys() - _ACCESS)[0]
            fail(
                f"'{bad}' of the tensor_access {'is given twice' if twice else 'is unknown'}", span
            )
        fields |= given
    for name in NEEDED[kind]:
        if name not in fields:
            fail(f"a {kind} needs '{name}'", span)
    return Value(kind, Dsd(_memory(fields, kind, span) if "base_address" in fields else fields))


def _memory(fields: dict[str, Value], kind: t.Type, span: Span) -> dict[str, Value]:
    base = fields["base_address"]
    if not isinstance(base.type, t.PointerType):
        hint = "take its address with &"
        fail(
            f"base_address: expected a pointer, got {show(base)} of type {type_of(base)}",
            span,
            hint,
        )
    extents = _numbers(fields["extent"], t.U16, span)
    ones = struct_of({str(at): integer(1) for at in range(len(extents))})
    strides = _numbers(fields.get("stride", ones), t.I8 if kind == t.MEM1D else t.I16, span)
    most = 4 if kind == t.MEM4D else 1
    if len(extents) > most or len(strides) != len(extents):
        fail(f"a {kind} with {len(extents)} extent(s) and {len(strides)} stride(s)", span)
    return fields | {
        "offset": coerce(fields.get("offset", integer(0)), t.I16, span),
        "stride": struct_of({str(at): each for at, each in enumerate(strides)}),
        "extent": struct_of({str(at): each for at, each in enumerate(extents)}),
    }


def _numbers(value: Value, wanted: t.Type, span: Span) -> list[Value]:
    many = list(value.data.values()) if is_struct(value) else [value]
    return [coerce(each, wanted, span) for each in many]


def _dsd(value: Value, kinds: tuple[t.Type, ...], node: s.Builtin) -> dict[str, Value]:
    if value.type not in kinds:
        wanted = " or ".join(map(str, kinds))
        fail(f"@{node.name} takes a {wanted}, got {type_of(value)}", node.args[0].span)
    return value.data.properties


@builtin("increment_dsd_offset", 3)
def _increment_dsd_offset(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held = _dsd(args[0], (t.MEM1D, t.MEM4D), node)
    by = coerce(args[1], t.I16, node.args[1].span).data
    offset = Value(t.I16, t.I16.wrap(held["offset"].data + by))
    return Value(args[0].type, Dsd(held | {"offset": offset}))


@builtin("set_dsd_base_addr", 2)
def _set_dsd_base_addr(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held = _dsd(args[0], (t.MEM1D, t.MEM4D), node)
    base = args[1]
    if not isinstance(base.type, t.PointerType):
        fail(f"expected a pointer, got {show(base)} of type {type_of(base)}", node.args[1].span)
    return Value(args[0].type, Dsd(held | {"base_address": base, "offset": integer(0, t.I16)}))


@builtin("set_dsd_length", 2)
def _set_dsd_length(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held = _dsd(args[0], (t.MEM1D, t.CIRCBUF, t.FABIN, t.FABOUT), node)
    extent = coerce(args[1], t.U16, node.args[1].span)
    new = struct_of({"0": extent}) if args[0].type in {t.MEM1D, t.CIRCBUF} else extent
    return Value(args[0].type, Dsd(held | {"extent": new}))


@builtin("set_dsd_stride", 2)
def _set_dsd_stride(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    held = _dsd(args[0], (t.MEM1D,), node)
    stride = struct_of({"0": coerce(args[1], t.I8, node.args[1].span)})
    return Value(args[0].type, Dsd(held | {"stride": stride}))


@builtin("get_dsr", 2)
def _get_dsr(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    kind, number = as_type(args[0], node.args[0].span), as_number(args[1], node.args[1].span)
    if kind not in {t.DSR_DEST, t.DSR_SRC0, t.DSR_SRC1}:
        hint = nearest(str(kind), ("dsr_dest", "dsr_src0", "dsr_src1"))
        fail(f"{kind} is not a kind of DSR", node.args[0].span, hint)
    return _register(kind, number, node.args[1].span)


def _register(kind: t.Type, number: int, span: Span) -> Value:
    if not 0 <= number < DSR_COUNT[kind]:
        fail(f"there is no {kind} {number}", span, f"they run from 0 to {DSR_COUNT[kind] - 1}")
    return Value(kind, Dsr(str(kind), number))


@builtin("get_xdsr", 1)
def _get_xdsr(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    return _register(t.XDSR, as_number(args[0], node.args[0].span), node.args[0].span)


@builtin("get_sr", 1)
def _get_sr(_: "Evaluator", node: s.Builtin, args: list[Value]) -> Value:
    return _register(t.SR, as_number(args[0], node.args[0].span), node.args[0].span)


def check_load(node: s.Builtin, args: list[Value]) -> tuple[Value, Value, Value | None]:
    """The DSR, the DSD and the settings of a `@load_to_dsr…`; stops at what does not belong together.

    `args` are values of the evaluator or registers of the lowering. How many stride registers a DSD
    needs: the SDK documentation's page on DSRs (2.10.0).
    """
    extra = {"load_to_dsr": 0, "load_to_dsr_xdsr": 1, "load_to_dsr_xdsr_sr": 2}[node.name]
    spans = [each.span for each in node.args]
    if not extra + 2 <= len(args) <= extra + 3:
        fail(f"@{node.name} takes {extra + 2} or {extra + 3} arguments, got {len(args)}", node.span)
    dsr, dsd = args[0], args[extra + 1]
    if dsr.type not in {t.DSR_DEST, t.DSR_SRC0, t.DSR_SRC1}:
        fail(f"expected a DSR, got a value of type {type_of(dsr)}", spans[0])
    if extra and args[1].type != t.XDSR:
        fail(f"expected an xdsr, got a value of type {type_of(args[1])}", spans[1])
    if extra == 2:
        _check_strides(args[2], dsd, spans[2])
    wanted = (_ANY_DSD, (t.CIRCBUF,), (t.MEM4D,))[extra]
    if dsd.type not in wanted:
        hint = "@load_to_dsr_xdsr loads a circbuf_dsd" if dsd.type == t.CIRCBUF else None
        shown = " or ".join(map(str, wanted))
        fail(f"@{node.name} takes a {shown}, got a {type_of(dsd)}", spans[extra + 1], hint)
    return dsr, dsd, args[extra + 2] if len(args) > extra + 2 else None


_ANY_DSD = (t.MEM1D, t.MEM4D, t.FABIN, t.FABOUT)
MOST_STRIDES = 3


def _check_strides(given: Value, dsd: Value, span: Span) -> None:
    registers = list(as_struct(given, span).values())
    if any(each.type != t.SR for each in registers):
        fail(f"expected a tuple of stride registers, got {show(given)}", span, "@get_sr makes one")
    needed = MOST_STRIDES
    if isinstance(dsd.data, Dsd):
        strides = [each.data for each in dsd.data.properties["stride"].data.values()]
        # The innermost dimension needs none; nor does the next, if the innermost has stride 1.
        needed = max(0, len(strides) - 1 - (strides[0] == 1))
    if len(registers) != needed:
        fail(f"this DSD needs {needed} stride register(s), got {len(registers)}", span)


@builtin("allocate_fifo", 1, 2, lazy=True)
def _allocate_fifo(ev: "Evaluator", node: s.Builtin, scope: Scope) -> Value:
    place = ev.place(node.args[0], scope)
    held = place.get()
    if isinstance(held.type, t.PointerType):
        place = held.data
        held = place.get()
    if not isinstance(held.type, t.ArrayType) or len(held.type.dimensions) != 1:
        fail(f"expected an array of one dimension, got {type_of(held)}", node.args[0].span)
    given: dict[str, Value] = {}
    for options in node.args[1:]:
        given = as_struct(ev.value(options, scope), options.span)
        for name in given:
            if name not in FIFO_FIELDS:
                fail(f"a FIFO has no '{name}'", options.span, nearest(name, FIFO_FIELDS))
    buffer = Value(t.PointerType(held.type), place)
    return Value(t.FIFO, Dsd({"buffer": buffer, **given}))
