"""From a `Tile` to a `Code`: bodies of what its tasks and symbols reach, specialised and typed.

Lowering is partial evaluation. An expression whose parts are known stays a `Value`, by the front
end's own `Evaluator`; anything else becomes instructions and a `Reg`. A branch whose condition is
known leaves one side; a call is folded, inlined (small or `inline` functions), or goes to an instance
of the function: one for each module instance and set of compile-time arguments and types.

    values.py        registers and places in memory, beside the front end's values
    stream.py        instructions before labels have numbers
    memory.py        addresses and first values
    descriptors.py   rows of the tables for DSDs, FIFOs, settings
    program.py       what the functions of one tile share
    body.py          one function: instructions, conversions, joins
    places.py, operators.py, expressions.py, control.py, loops.py, ranges.py, calls.py    the forms
    given.py, builtins.py, conversions.py, library.py, vectors.py, mapping.py             builtins
    tidy.py          shorter jumps, and calls at a function's end
    finish.py        `lower` itself: tasks, symbols, tables
"""

from waferllm.csl.code import Code
from waferllm.csl.lowering.finish import lower

__all__ = ["Code", "lower"]
