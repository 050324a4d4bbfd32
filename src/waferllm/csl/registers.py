"""Configuration words of a PE: what `@get_config` and `@set_config` reach, by word address.

Public: WSE-2's color words lie at 0x7f20 and its switches at 0x7f40, one word per color, with the bits
below; WSE-3's color words at 0x7c00 (docs and code of the SDK's published examples). How WSE-3 packs
switches, and every address from `X` on, is not published: those are this project's own, and programs
reach them through the library `<tile_config>` only.

A color word: `OUT` and `IN` bits per direction, then swaps, pop mode and teardown. Writing one changes
the color's route at once; but if the route takes wavelets from the core, when all that the core has sent
on it have passed: they leave by the old route (our reading, which WaferLLM's WSE-3 programs need).
Toggling bit `TEARDOWN` off ends the color's teardown.

A switch of WSE-2 is one word: four bits for each of positions 1, 2 and 3, from bit 0 on (a direction of
0 W, 1 E, 2 S, 3 N, 4 RAMP or 5 invalid; above it 1 where it is an input), `PACKED_RING`, and the current
position in two bits from `PACKED_POSITION` on.

A switch of WSE-3 is four words from `SWITCH + 4 * color`: positions 1, 2, 3 and the status. A position
has the color word's `OUT` and `IN` bits (none of one side: that side stays as position 0 has it; none at
all: the position is invalid). The status holds the current position and `RING`.
"""

COLOR = {"wse2": 0x7F20, "wse3": 0x7C00}
SWITCH = {"wse2": 0x7F40, "wse3": 0x7C40}

# Bits of a color word.
OUT = {"WEST": 0, "EAST": 1, "SOUTH": 2, "NORTH": 3, "RAMP": 4}
IN = {"WEST": 5, "EAST": 6, "SOUTH": 7, "NORTH": 8, "RAMP": 9}
SWAP_NORTH_SOUTH = 10
SWAP_EAST_WEST = 11
POP = 12  # two bits: 0 no_pop, 1 always_pop, 2 pop_on_advance, 3 pop_on_advance_nop
TEARDOWN = 14

# Words of a switch, and bits of its status word.
SWITCH_WORDS = 4
STATUS = 3
RING = 2  # bits 0 and 1 are the current position
PACKED_RING, PACKED_POSITION = 12, 13
INVALID = 5

X = 0x7FC0  # the PE's place in the rectangle; read only
Y = 0x7FC1
TEARDOWN_PENDING = 0x7FC2  # two words, a bit for each color in teardown; read only
TASK_PRIORITY = 0x7FC4  # four words, a bit for each task id: 1 is high
MAIN_PRIORITY = 0x7FC8  # 0 medium_low (the default), 1 medium, 2 medium_high, 3 high
INPUT_STATUS = 0x7FC9  # low byte: empty, high byte: full; a bit for each input queue; read only
OUTPUT_STATUS = 0x7FCA
EXCEPTION_MASK = 0x7FCB  # a 0 bit stops the PE; see lib/tile_config/exceptions.csl
CONTROL_MASK = 0x7FCC  # what `control_transform` XORs into a wavelet's index
INPUT_FLUSHED = 0x7FCD  # a bit for each queue that was flushed; written 0 to leave the state
OUTPUT_FLUSHED = 0x7FCE
FILTER = 0x7FD0  # FILTER_WORDS for each of FILTERS filters
FILTERS = 4
FILTER_WORDS = 4
FILTER_COUNTER, FILTER_MAXIMUM, FILTER_LIMIT, FILTER_STATE = 0, 1, 2, 3  # state: 0 pass, 1 drop
PERFORMANCE = 0x7FE0  # two counters of three words; read only
RANDOM = 0x7FE8  # two words: the state of the active random generator
