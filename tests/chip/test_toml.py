"""Chip files: what goes in comes out, and whatever is wrong is said in one sentence."""

from pathlib import Path

import pytest

from waferllm.chip import CHIPS, PROFILES, WSE2, Chip, Tag, chip, dump_chip, load_chip
from waferllm.errors import InputError

EXAMPLE = Path(__file__).parents[2] / "examples" / "chips" / "my_wafer.toml"
NAMES = [*CHIPS, *(f"{name}@{profile}" for name in CHIPS for profile in PROFILES[name])]


def load(folder: Path, text: str) -> Chip:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return load_chip(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_dumped_chip_loads_to_an_equal_chip(name: str, tmp_path: Path) -> None:
    original = chip(name)
    again = load(tmp_path, dump_chip(original))
    assert again == original
    assert again.sources == original.sources


def test_the_round_trip_keeps_quotes_backslashes_and_other_scripts(tmp_path: Path) -> None:
    odd = WSE2.with_facts({}, name="o'dd", title='a "b" \\ c\t\n\x7f \U0001f600 晶圆')
    assert load(tmp_path, dump_chip(odd)) == odd


def test_the_example_overrides_its_base_and_nothing_else() -> None:
    mine = load_chip(EXAMPLE)
    changed = {key for key, fact in WSE2.facts.items() if mine.facts[key].value != fact.value}
    assert changed == {
        "sram_per_core_bytes",
        "clock_hz",
        "link_bytes_per_cycle",
        "ramp_bytes_per_cycle",
        "macs_per_cycle.float16",
    }
    assert mine.peak_flops("float16") == pytest.approx(2 * 745_500 * 8 * 1.2e9)


def test_an_own_value_without_a_source_is_labelled_as_the_users(tmp_path: Path) -> None:
    mine = load(tmp_path, 'base = "wse2"\nname = "mine"\nhop_cycles = 3\n')
    assert mine.sources["hop_cycles"].text == "user file"
    assert mine.sources["hop_cycles"].tag is Tag.USER
    assert mine.sources["clock_hz"] == WSE2.sources["clock_hz"]


def test_a_source_may_be_a_text_or_a_table_and_may_reach_a_rate(tmp_path: Path) -> None:
    mine = load(
        tmp_path,
        'base = "wse2@clock850"\nname = "mine"\n[sources]\nhop_cycles = "our lab"\n'
        'macs_per_cycle.float16 = {text = "sheet", tag = "SEEN", date = 2026-01-02}\n',
    )
    assert (mine.sources["hop_cycles"].text, mine.clock_hz) == ("our lab", 850e6)
    rate = mine.sources["macs_per_cycle.float16"]
    assert (rate.text, rate.tag, rate.date) == ("sheet", Tag.SEEN, "2026-01-02")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("clock_ghz = 1", "unknown key clock_ghz. Did you mean clock_hz?"),
        ('clock_hz = "fast"', "clock_hz = 'fast' is not a number; expected a positive number (Hz"),
        ("clock_hz = -1", "clock_hz = -1 cannot be; expected a positive number (Hz"),
        ("clock_hz = nan", "clock_hz = nan cannot be"),
        ("clock_hz = true", "clock_hz = True is not a number"),
        ("grid_cols = 7.5", "grid_cols = 7.5 cannot be; expected a positive whole number"),
        ("grid_cols = 100_000", "more than nameplate_cores = 850000"),
        ("reserved_per_core_bytes = 50_000", "leaves nothing of sram_per_core_bytes = 49152"),
        ("macs_per_cycle = 4", "is not a table; write [macs_per_cycle]"),
        ("macs_per_cycle.fp16 = 4", "unknown data type macs_per_cycle.fp16"),
        ("macs_per_cycle.float16 = -4", "macs_per_cycle.float16 = -4 cannot be"),
        ("process = 7", "process = 7 is not a name"),
        ("notes = 'text'", "notes = 'text' is not a list of texts"),
        ("sources = 3", "sources = 3 is not a table"),
        ("sources.clock = 'x'", "sources.clock is a source for no field. Did you mean clock_hz?"),
        ("sources.clock_hz = 3", "sources.clock_hz = 3 is neither a text nor"),
        ("sources.clock_hz = {text = 'x', page = 3}", "unknown key sources.clock_hz.page"),
        ("sources.clock_hz = {text = 'x', tag = 'SURE'}", "is not one of SEEN, COMPUTED"),
        ("clock_hz = 1\nclock_hz = 2", "is not valid TOML"),
        ("clock_hz = ", "is not valid TOML"),
        ("clock_hz = 1" + "0" * 400, "cannot be"),
    ],
)
def test_a_wrong_line_is_refused_in_one_sentence(line: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, f'base = "wse2"\nname = "mine"\n{line}\n')
    assert says in str(caught.value)
    assert "own.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_base_names_all_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks process, grid_cols, .*macs_per_cycle\.<dtype>"):
        load(tmp_path, 'name = "mine"\nclock_hz = 1e9\n')
    with pytest.raises(InputError, match="lacks name"):
        load(tmp_path, 'base = "wse2"\n')
    with pytest.raises(InputError, match="Unknown chip 'wse9'"):
        load(tmp_path, 'base = "wse9"\nname = "mine"\n')


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read chip file .*nowhere\.toml: No such file"):
        load_chip(tmp_path / "nowhere.toml")
    with pytest.raises(InputError, match="Cannot read chip file"):
        load_chip(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(InputError, match="is not valid TOML"):
        load_chip(tmp_path / "latin.toml")
