"""What a second look at a function's instructions saves: jumps to jumps, and calls at its end."""

from waferllm.csl.code import Op
from waferllm.csl.lowering.program import Instance
from waferllm.csl.lowering.stream import A, B, Block, D, Instruction, Label, instruction

LONGEST_CHAIN = 16
_ENDS = {Op.RETURN, Op.END}
_JUMPS = {Op.JUMP: A, Op.JUMP_IF: B, Op.JUMP_UNLESS: B}


def tidy(instance: Instance) -> None:
    """Shorten jumps; a call right before the return becomes a jump that passes the return address.

    Functions that call each other at their ends are loops of the program: registers exist once per
    function, and such calls need none of the caller's any more.
    """
    items = list(instance.body.flat())
    places = {id(each): at for at, each in enumerate(items) if isinstance(each, Label)}
    instance.body = Block()
    for at, each in enumerate(items):
        if isinstance(each, Instruction):
            if each.cells[0] in _JUMPS:
                each = _shortened(each, items, places)
            elif each.cells[0] == Op.CALL and _returns(instance, items, places, at + 1):
                instance.tail_calls.add(id(each))
                back = instance.back
                pass_on = instruction(Op.MOVE, each.span, d=each.cells[D], a=back)
                instance.body.items.append(pass_on)
                each = instruction(Op.JUMP, each.span, a=each.cells[A])
        instance.body.items.append(each)


def _next(items: list[Instruction | Label], at: int) -> Instruction | None:
    while at < len(items) and isinstance(items[at], Label):
        at += 1
    found = items[at] if at < len(items) else None
    return found if isinstance(found, Instruction) else None


def _shortened(
    jump: Instruction, items: list[Instruction | Label], places: dict[int, int]
) -> Instruction:
    """The jump to where its target leads; a plain jump to the function's end is that end."""
    column = _JUMPS[jump.cells[0]]
    after = None
    for _ in range(LONGEST_CHAIN):
        after = _next(items, places[id(jump.cells[column])])
        if after is None or after.cells[0] != Op.JUMP or id(after.cells[A]) not in places:
            break
        jump.cells[column] = after.cells[A]
    if jump.cells[0] == Op.JUMP and after is not None and after.cells[0] in _ENDS:
        return Instruction(list(after.cells), after.span)
    return jump


def _returns(
    instance: Instance, items: list[Instruction | Label], places: dict[int, int], at: int
) -> bool:
    """Whether nothing but the return comes at and after `at`."""
    after = None
    for _ in range(LONGEST_CHAIN):
        after = _next(items, at)
        if after is None or after.cells[0] != Op.JUMP:
            break
        at = places[id(after.cells[A])]
    return after is not None and after.cells[0] == Op.RETURN and after.cells[A] == instance.back
