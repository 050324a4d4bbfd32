"""CSL, the language of Cerebras' wafers: from source text to what a machine can run.

Stages, and the data between them; each stage is a function or two, each datum a frozen value:

    text      `Source`             `read_source(path)`
      │  tokens                    lexer.py: one regular expression
      │  parse                     cursor.py, expressions.py, parser.py
    tree      `syntax.Module`      one file; equal trees say the same, spans aside (show.py prints)
      │  evaluate_layout           evaluate.py walks the tree; builtins_layout.py collects
    layout    `layout.Layout`      rectangle, per PE a `TileCode` (file + params) and color routes, exports
      │  evaluate_tile             once per distinct `TileCode`, not once per PE
    tile      `tile.Tile`          tasks, queues, routes, DSRs, symbols, globals with first values
      │  lower                     bodies of what `tasks` and `symbols` reach, specialised and typed
    code      `code.Code`          flat arrays of instructions and a memory map, shared by PEs
      │  link                      `Layout` + codes → one `Image`: routers, SRAM, queues
    machine   `machine.Machine`    Numba, cycle by cycle; two passes, propose and commit
      │  runtime                   `SdkRuntime` over the machine; `cslc` writes what it loads

What holds everywhere:

* One exception, `CslError`, carries a `Diagnostic`: a place, what was got and expected, a hint. No
  input gives a traceback. What is not implemented says so by name, with the kind `unsupported`.
* A `Value` never changes; a `Place` (a variable, a global, a part of one) holds one. A pointer's data
  is a `Place`, so the lowering turns `Global` places into addresses and nothing else.
* A `Global` that is `var` has a first value and an address at compile time, nothing more.
* `@import_module` makes a new `ModuleInstance` each time; `Tile.modules` lists them in order of
  import, the tile's own first. Libraries are CSL files of ours in lib/, written from their
  documentation; one that needs the machine (memcpy's PE side, time, layout, …) comes with it.
* `Layout.codes` groups PEs by equal code and params; the machine keeps one copy of code for each.

The front end imports neither JAX nor NumPy; code, lowering, machine and host import NumPy, and the
machine Numba.
"""
