"""`Image`: a whole program, linked: codes joined, and for each PE which code and which routes it has."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from waferllm.csl.code import COLUMNS, DSD_COLUMNS, NONE, SRAM_WORDS, Code, DsdKind
from waferllm.csl.code import Target as Id
from waferllm.csl.layout import ColorConfig, Layout, TileCode
from waferllm.csl.machine.profile import INPUT_DEPTH, OUTPUT_DEPTH
from waferllm.csl.target import QUEUES, ROUTABLE_COLORS, Target
from waferllm.csl.tile import Tile
from waferllm.errors import InputError

FORMAT = 1
# Ports of a router; the opposite of port p is p ^ 1.
WEST, EAST, SOUTH, NORTH, RAMP = range(5)
PORTS = {"WEST": WEST, "EAST": EAST, "SOUTH": SOUTH, "NORTH": NORTH, "RAMP": RAMP}
POP_MODES = ("no_pop", "always_pop", "pop_on_advance", "pop_on_advance_nop")
POSITIONS = 4
TASK_IDS = 64
DATA_PARAMS = 4

# Columns of `Image.filters`: kind 0 counter, 1 sparse counter, 2 range.
FILTER_COLUMNS = (
    "kind", "count_data", "count_control", "init_counter", "limit1", "limit2", "max_counter",
    "filter_control", "max_idx", "min_idx",
)  # fmt: skip
FILTER_KINDS = ("counter", "sparse_counter", "range")


@dataclass(frozen=True)
class Image:
    """Everything that a machine loads. Arrays are int32 unless said; pe = y * width + x."""

    arch: str
    fp16_kind: int
    width: int
    height: int
    codes: tuple[Code, ...]
    code_of: np.ndarray  # [pe]
    rx: np.ndarray  # uint8 [pe, color, position]: bits of ports
    tx: np.ndarray  # uint8 [pe, color, position]; 0 and rx 0: the position is invalid
    position: np.ndarray  # uint8 [pe, color]
    flags: (
        np.ndarray
    )  # uint8 [pe, color]: bit 0 ring, 1-2 pop mode, 3 teardown, 4-5 color swaps x y
    filter_of: np.ndarray  # int8 [pe, color]: row of `filters` or NONE
    filters: np.ndarray  # [row, FILTER_COLUMNS]
    host_in: frozenset[int]
    host_out: frozenset[int]

    @property
    def pes(self) -> int:
        """Processing elements."""
        return self.width * self.height

    def save(self, folder: Path) -> None:
        """Write the image into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "image.pickle").write_bytes(pickle.dumps((FORMAT, self), protocol=5))


def load_image(folder: Path) -> Image:
    """What `Image.save` wrote; raises `InputError` for anything else."""
    path = folder / "image.pickle"
    try:
        version, image = pickle.loads(path.read_bytes())
    except (
        OSError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise InputError(f"got {folder}, expected an image that cslc wrote: {error}") from None
    if version != FORMAT:
        raise InputError(f"got {path} of format {version}, expected {FORMAT}: compile again")
    return image


def link(
    layout: Layout,
    tiles: Mapping[TileCode, Tile],
    codes: Mapping[TileCode, Code],
    target: Target,
    *,
    host_in: frozenset[int] = frozenset(),
    host_out: frozenset[int] = frozenset(),
) -> Image:
    """Join a layout and its tiles' codes."""
    order = list(codes)
    number = {code: at for at, code in enumerate(order)}
    pes = layout.width * layout.height
    code_of = np.full(pes, NONE, np.int32)
    routes = _Routes(pes)
    for (x, y), code in layout.tiles.items():
        pe = y * layout.width + x
        code_of[pe] = number[code]
        for configs in (layout.colors.get((x, y), {}), tiles[code].colors):
            for color, config in configs.items():
                routes.add(pe, color, config)
    for color in host_out:
        routes.add_host(color)
    if (code_of < 0).any():
        pe = int(np.argmin(code_of))
        raise InputError(f"PE ({pe % layout.width}, {pe // layout.width}) has no code")
    from waferllm.csl.code import Kind

    return Image(
        arch=target.arch,
        fp16_kind=int(Kind[str(target.fp16).upper()]),
        width=layout.width,
        height=layout.height,
        codes=tuple(codes[code] for code in order),
        code_of=code_of,
        rx=routes.rx,
        tx=routes.tx,
        position=routes.position,
        flags=routes.flags,
        filter_of=routes.filter_of,
        filters=np.array(routes.filters or [[0] * len(FILTER_COLUMNS)], np.int32),
        host_in=host_in,
        host_out=host_out,
    )


class _Routes:
    """Router tables while they are filled."""

    def __init__(self, pes: int) -> None:
        shape = (pes, ROUTABLE_COLORS)
        self.rx = np.zeros((*shape, POSITIONS), np.uint8)
        self.tx = np.zeros((*shape, POSITIONS), np.uint8)
        self.position = np.zeros(shape, np.uint8)
        self.flags = np.zeros(shape, np.uint8)
        self.filter_of = np.full(shape, NONE, np.int8)
        self.filters: list[list[int]] = []
        self._known: dict[object, tuple[np.ndarray, np.ndarray, int, int]] = {}

    def add(self, pe: int, color: int, config: ColorConfig) -> None:
        found = self._known.get(config)
        if found is None:
            found = self._known[config] = (
                *_positions(config),
                _flags(config),
                self._filter(config),
            )
        self.rx[pe, color], self.tx[pe, color], self.flags[pe, color] = found[0], found[1], found[2]
        self.filter_of[pe, color] = found[3]
        self.position[pe, color] = config.current_switch

    def add_host(self, color: int) -> None:
        """A color that the host reads comes down the ramp again where the program does not route it."""
        unused = (self.rx[:, color, 0] == 0) & (self.tx[:, color, 0] == 0)
        self.rx[unused, color, 0] = self.tx[unused, color, 0] = 1 << RAMP

    def _filter(self, config: ColorConfig) -> int:
        if not config.filter:
            return NONE
        given = dict(config.filter)
        kind = given.pop("kind")
        row = [FILTER_KINDS.index(str(kind))] + [0] * (len(FILTER_COLUMNS) - 1)
        for name, value in given.items():
            if name in FILTER_COLUMNS:
                row[FILTER_COLUMNS.index(name)] = int(value)
        if row not in self.filters:
            self.filters.append(row)
        return self.filters.index(row)


def _bits(directions: tuple[str, ...]) -> int:
    return sum(1 << PORTS[each] for each in directions)


def _positions(config: ColorConfig) -> tuple[np.ndarray, np.ndarray]:
    """Each position's ports: a side that a position leaves alone is as in the one before."""
    rx, tx = np.zeros(POSITIONS, np.uint8), np.zeros(POSITIONS, np.uint8)
    rx[0], tx[0] = _bits(config.rx), _bits(config.tx)
    before = 0
    for at, switch in enumerate(config.switches, 1):
        if switch is not None:
            rx[at] = rx[before] if switch.rx is None else _bits(switch.rx)
            tx[at] = tx[before] if switch.tx is None else _bits(switch.tx)
            before = at
    return rx, tx


def _flags(config: ColorConfig) -> int:
    return (
        int(config.ring_mode)
        | POP_MODES.index(config.pop_mode) << 1
        | int(config.teardown) << 3
        | int(config.color_swap_x) << 4
        | int(config.color_swap_y) << 5
    )


# --- Tables that the machine reads -----------------------------------------------------------


@dataclass(frozen=True)
class Tables:
    """The codes of an image as joined arrays; columns `*_at` say where a code's rows begin."""

    instructions: np.ndarray  # int32 [n, COLUMNS]
    constants: np.ndarray  # int64
    dsds: np.ndarray  # int32
    options: np.ndarray  # int32
    fifos: np.ndarray  # int32
    at: np.ndarray  # int32 [code, 5]: first instruction, constant, dsd, option, fifo
    local_entry: np.ndarray  # int32 [code, id]; NONE where no task is bound
    data_entry: np.ndarray  # int32 [code, color]
    data_params: np.ndarray  # int32 [code, color, DATA_PARAMS, 2]: register, kind; NONE
    control_entry: np.ndarray  # int32 [code, id]
    control_params: np.ndarray  # int32 [code, id, DATA_PARAMS, 2]
    teardown_entry: np.ndarray  # int32 [code, color]
    input_color: np.ndarray  # int32 [code, queue]: color or NONE
    color_queue: np.ndarray  # int32 [code, color]: input queue or NONE
    depth: np.ndarray  # int32 [code, color]: words that the color's input queue holds
    output_color: np.ndarray  # int32 [code, queue]
    output_depth: np.ndarray  # int32 [queue]
    data_bits: np.ndarray  # int64 [code]: colors with a data task
    owner: np.ndarray  # int16 [code, word]: row of the code's memory map, or NONE


def make_tables(image: Image) -> Tables:
    """Join the codes of an image."""
    codes = image.codes
    lengths = np.array(
        [
            [len(c.instructions), len(c.constants), len(c.dsds), len(c.options), len(c.fifos)]
            for c in codes
        ]
    )
    at = np.vstack([np.zeros((1, 5), int), np.cumsum(lengths, axis=0)[:-1]]).astype(np.int32)
    count = len(codes)
    tables = Tables(
        _joined([c.instructions for c in codes], COLUMNS, np.int32),
        _joined([c.constants for c in codes], 0, np.int64),
        _joined([c.dsds for c in codes], len(DSD_COLUMNS), np.int32),
        _joined([c.options for c in codes], 12, np.int32),
        _joined([c.fifos for c in codes], 7, np.int32),
        at,
        np.full((count, TASK_IDS), NONE, np.int32),
        np.full((count, ROUTABLE_COLORS), NONE, np.int32),
        np.full((count, ROUTABLE_COLORS, DATA_PARAMS, 2), NONE, np.int32),
        np.full((count, TASK_IDS), NONE, np.int32),
        np.full((count, TASK_IDS, DATA_PARAMS, 2), NONE, np.int32),
        np.full((count, ROUTABLE_COLORS), NONE, np.int32),
        np.full((count, QUEUES), NONE, np.int32),
        np.full((count, ROUTABLE_COLORS), NONE, np.int32),
        np.full((count, ROUTABLE_COLORS), INPUT_DEPTH[image.arch][2], np.int32),
        np.full((count, QUEUES), NONE, np.int32),
        np.array(OUTPUT_DEPTH[image.arch], np.int32),
        np.zeros(count, np.int64),
        np.full((count, memory_words(image)), NONE, np.int16),
    )
    for number, code in enumerate(codes):
        for index, row in enumerate(code.memory_map):
            tables.owner[number, row.address : row.address + row.words] = index
        _enter_queues(tables, number, code, image.arch)
        _enter_tasks(tables, number, code, image.arch)
    return tables


def _joined(parts: list[np.ndarray], columns: int, dtype: type) -> np.ndarray:
    shape = (-1, columns) if columns else (-1,)
    return np.concatenate(
        [np.asarray(p, dtype).reshape(shape) for p in parts]
        + [np.zeros((1, columns) if columns else 1, dtype)]
    )


def _enter_queues(tables: Tables, number: int, code: Code, arch: str) -> None:
    """Which queue a color has: as initialized, else as a fabin DSD says."""
    kind, queue, color = (DSD_COLUMNS.index(name) for name in ("kind", "queue", "color"))
    pairs = [(q, c) for q, (c, _) in code.inputs.items()]
    pairs += [
        (int(row[queue]), int(row[color]))
        for row in code.dsds
        if row[kind] == DsdKind.FABIN and row[queue] >= 0 and row[color] >= 0
    ]
    for q, c in pairs:
        if tables.input_color[number, q] < 0:
            tables.input_color[number, q] = c
        if tables.color_queue[number, c] < 0:
            tables.color_queue[number, c] = q
            tables.depth[number, c] = INPUT_DEPTH[arch][q]
    for q, (c, _) in code.outputs.items():
        tables.output_color[number, q] = c


def _enter_tasks(tables: Tables, number: int, code: Code, arch: str) -> None:
    for (kind, id_), task in code.tasks.items():
        if kind == Id.LOCAL_TASK:
            tables.local_entry[number, id_] = task.entry
            continue
        if kind == Id.CONTROL_TASK:
            tables.control_entry[number, id_] = task.entry
            _params(tables.control_params[number, id_], task.params)
            continue
        color = id_ if arch == "wse2" else int(tables.input_color[number, id_])
        if color < 0:
            raise InputError(
                f"task '{task.name}' of {code.name} is bound to input queue {id_}, which has no color; "
                "expected @initialize_queue for it"
            )
        tables.data_entry[number, color] = task.entry
        tables.data_bits[number] |= 1 << color
        _params(tables.data_params[number, color], task.params)
    for color, task in code.teardown.items():
        tables.teardown_entry[number, color] = task.entry


def _params(row: np.ndarray, params: tuple[tuple[int, int], ...]) -> None:
    for at, (register, kind) in enumerate(params):
        row[at] = register, kind


def memory_words(image: Image) -> int:
    """Words of memory that each PE gets: what the largest code uses, a little more for checks."""
    return min(SRAM_WORDS, max((len(c.memory) for c in image.codes), default=0) + 8)
