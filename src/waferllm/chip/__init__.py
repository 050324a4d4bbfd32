"""Facts about machines: `Chip` and its published values, each number with its source."""

from waferllm.chip.catalog import CHIPS, PROFILES, chip
from waferllm.chip.meshes import BLACKHOLE, DOJO_TILE
from waferllm.chip.model import DTYPES, Chip, Fact, Rates, Source, Tag
from waferllm.chip.toml import dump_chip, load_chip
from waferllm.chip.wafers import WSE2, WSE3

__all__ = [
    "BLACKHOLE",
    "CHIPS",
    "DOJO_TILE",
    "DTYPES",
    "PROFILES",
    "WSE2",
    "WSE3",
    "Chip",
    "Fact",
    "Rates",
    "Source",
    "Tag",
    "chip",
    "dump_chip",
    "load_chip",
]
