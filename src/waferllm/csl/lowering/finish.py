"""`lower`: what a tile's tasks and symbols reach, and the tables around it, as a `Code`."""

import numpy as np

from waferllm.csl import registers
from waferllm.csl import syntax as s
from waferllm.csl import types as t
from waferllm.csl.code import (
    SRAM_WORDS,
    Code,
    HostFunction,
    HostVariable,
    Kind,
    MemoryRow,
    Op,
    Priority,
    Task,
)
from waferllm.csl.code import Target as Id
from waferllm.csl.diagnostics import fail, unsupported
from waferllm.csl.lowering.body import Body
from waferllm.csl.lowering.calls import (
    enter,
    instance_of,
    lower_instance,
    make_instance,
    plain_args,
)
from waferllm.csl.lowering.descriptors import dsr_key
from waferllm.csl.lowering.program import TARGETS, TEARDOWN_TASK, Instance, Program
from waferllm.csl.lowering.stream import Label
from waferllm.csl.lowering.values import Reg, kind_of
from waferllm.csl.lowering.vectors import check_dsr
from waferllm.csl.places import Global, Scope
from waferllm.csl.target import Target
from waferllm.csl.tile import Symbol, Tile
from waferllm.csl.values import Function, type_of

TEXT_WORDS = 1  # estimate: words of program text that an instruction takes


def lower(tile: Tile, target: Target) -> Code:
    """The instructions, tables and memory of one tile; raises `CslError`."""
    program = Program(tile, target)
    return program.ev.guarded(lambda: _lower(program), tile.module.tree.span)


def _lower(program: Program) -> Code:
    tile = program.tile
    variables = _variables(program)
    _place_arrays(program)
    tasks = {
        (TARGETS[kind], number): _task(program, function)
        for (kind, number), function in tile.tasks.items()
    }
    if tile.flushed:
        tasks[Id.LOCAL_TASK, TEARDOWN_TASK] = _flush_task(program)
    teardown = {color: _task(program, function) for color, function in tile.teardown.items()}
    functions = {
        name: _host_function(program, symbol.what)
        for name, symbol in tile.symbols.items()
        if isinstance(symbol.what, Function)
    }
    dsrs = _dsrs(program)
    while program.waiting:
        lower_instance(program, program.waiting.pop())
    program.check_recursion()
    instructions, lines, files = program.assemble()
    _check_memory(program, len(instructions))

    def number(label: Label) -> int:
        return label.at

    return Code(
        name=tile.module.path.name,
        instructions=instructions,
        lines=lines,
        files=files,
        constants=np.array(
            [each if isinstance(each, int) else each.at for each in program.constants], np.int64
        ),
        registers=program.registers,
        memory=program.memory.finish(number),
        memory_map=tuple(program.memory.rows),
        messages=tuple(program.messages),
        dsds=program.descriptors.dsds.array(),
        options=program.descriptors.options.array(),
        fifos=program.descriptors.fifos.array(),
        dsrs=dsrs,
        tasks={key: _ready(*each) for key, each in tasks.items()},
        teardown={color: _ready(*each) for color, each in teardown.items()},
        activated=tile.activated,
        blocked=frozenset((TARGETS[kind], number) for kind, number in tile.blocked),
        inputs=_queues(tile, str(t.INPUT_QUEUE)),
        outputs=_queues(tile, str(t.OUTPUT_QUEUE)),
        config=dict(tile.registers),
        variables=variables,
        functions={name: _ready_host(*each) for name, each in functions.items()},
        printed=tuple(program.printed),
    )


# --- Tasks and functions ---------------------------------------------------------------------------


def _task(program: Program, function: Function) -> tuple[str, Label, Instance]:
    """A task, lowered to end with `END`; a teardown handler that is a function, likewise."""
    if function.decl.body is None:
        unsupported(f"the extern task '{function.decl.name}'", function.decl.span)
    args, result = plain_args(program, function)
    instance = make_instance(program, function, args, result)
    lower_instance(program, instance, is_task=True)
    return function.decl.name, instance.entry, instance


def _flush_task(program: Program) -> tuple[str, Label, Instance]:
    """The teardown task of a program with empty queue handlers: it calls those of flushed queues."""
    tile, span = program.tile, program.tile.module.tree.span
    if (str(t.LOCAL_TASK_ID), TEARDOWN_TASK) in tile.tasks:
        fail(f"local task {TEARDOWN_TASK} is bound and there is an empty queue handler", span)
    (first, *_) = tile.flushed.values()
    task = Instance(first, Label(), Scope(None, first.module), [], t.VOID, None, 0)
    body = Body(program, task, is_task=True)
    body.span = span
    body.place(task.entry)
    body.reachable = True
    for (kind, number), function in tile.flushed.items():
        word = registers.INPUT_FLUSHED if kind == str(t.INPUT_QUEUE) else registers.OUTPUT_FLUSHED
        status = body.compute(Op.GET_CONFIG, t.U16, a=body.constant(word)).number
        bit = body.constant(1 << number)
        found = body.compute(Op.AND, t.U16, type=Kind.U16, a=status, b=bit).number
        past = Label()
        body.emit(Op.JUMP_UNLESS, a=found, b=past)
        enter(body, instance_of(program, function, [], t.VOID))
        body.place(past)
    body.emit(Op.END)
    program.pieces.append(task.body)
    return first.decl.name, task.entry, task


def _ready(name: str, entry: Label, instance: Instance) -> Task:
    return Task(name, entry.at, _params(instance))


def _params(instance: Instance) -> tuple[tuple[int, int], ...]:
    found = []
    for slot in instance.params:
        assert isinstance(slot, Reg)
        found.append((slot.number, int(kind_of(slot.type) or 0)))
    return tuple(found)


def _host_function(program: Program, function: Function) -> tuple[str, Label, Instance]:
    """An exported function: a call of it that ends as a task does."""
    if function.decl.kind == "task" or function.decl.body is None:
        fail(f"'{function.decl.name}' cannot be exported", function.decl.span)
    args, result = plain_args(program, function)
    instance = instance_of(program, function, args, result)
    entry = Label()
    stub = Instance(function, entry, Scope(None, function.module), [], t.VOID, None, 0)
    body = Body(program, stub, is_task=True)
    body.place(entry)
    body.reachable = True
    body.emit(Op.CALL, d=instance.back, a=instance.entry)
    body.emit(Op.END)
    program.pieces.append(stub.body)
    return function.decl.name, entry, instance


def _ready_host(name: str, entry: Label, instance: Instance) -> HostFunction:
    return HostFunction(name, entry.at, _params(instance))


# --- Tables ----------------------------------------------------------------------------------------


def _variables(program: Program) -> dict[str, HostVariable]:
    return {
        name: _variable(program, name, symbol)
        for name, symbol in program.tile.symbols.items()
        if isinstance(symbol.what, Global)
    }


def _place_arrays(program: Program) -> None:
    """The file's arrays follow each other as declared, before scalars and descriptors.

    An access beyond the end of one then meets the next array, as in memory that a linker has laid out,
    and not a descriptor: published programs do that unharmed. An array that is named once is not used.
    """
    module = program.tile.module
    text = module.source.text
    for item in module.tree.items:
        if isinstance(item, s.VarDecl) and item.kind == "var" and text.count(item.name) > 1:
            place = module.find(item.name)
            assert isinstance(place, Global)
            if isinstance(type_of(place.get()), t.ArrayType):
                program.memory.of_global(place)


def _variable(program: Program, name: str, symbol: Symbol) -> HostVariable:
    place = symbol.what
    assert isinstance(place, Global)
    first = place.get()
    type_ = type_of(first)
    address = program.memory.of_global(place)
    pointed = None
    if isinstance(type_, t.PointerType) and first.data is not None:
        pointed = program.bits(first, place.decl.span)
        held = type_of(first.data.get())
        type_ = held if isinstance(held, t.ArrayType) else type_.target
    count = type_.count if isinstance(type_, t.ArrayType) else 1
    element = type_.element if isinstance(type_, t.ArrayType) else type_
    kind = kind_of(element)
    if kind is None:
        fail(f"'{name}' of type {type_of(first)} cannot be exported", place.decl.span)
    return HostVariable(name, kind, address, count, pointed)


def _dsrs(program: Program) -> dict[tuple[int, int], tuple[int, int]]:
    found = {}
    for dsr, loaded in program.tile.dsrs.items():
        span = program.tile.module.tree.span
        check_dsr(dsr, loaded.dsd.type, span)
        packed = program.descriptors.packed(loaded.dsd, span)
        row = program.descriptors.option_row(dict(loaded.options), span)
        found[dsr_key(dsr, span)] = (packed, row)
    return found


def _queues(tile: Tile, kind: str) -> dict[int, tuple[int, int]]:
    return {
        number: (queue.color, int(Priority[(queue.priority or "default").upper()]))
        for (each, number), queue in tile.queues.items()
        if each == kind and queue.color is not None
    }


def _check_memory(program: Program, instructions: int) -> None:
    """Add the estimate of the text to the memory map; stop if a PE has no room for it."""
    text = instructions * TEXT_WORDS
    words = len(program.memory.words)
    name = f"text (estimate: {instructions} instructions)"
    if words + text > SRAM_WORDS:
        program.memory.overflow(name, text, program.tile.module.tree.span)
    program.memory.rows.append(MemoryRow(name, words, text, program.tile.module.path.name))
