"""What a chip accepts, what it says when it does not, and that no number goes without a source."""

import dataclasses
import datetime
import math
import pickle
import subprocess
import sys

import pytest

from waferllm.chip import CHIPS, PROFILES, WSE2, WSE3, Chip, Fact, Rates, Source, Tag, chip
from waferllm.chip.model import FIELDS, quantity_of
from waferllm.errors import InputError

USER = Source("a test", Tag.USER)


def numeric_keys(one: Chip) -> list[str]:
    """Keys of all numbers of a chip, found by looking at its values and not at its metadata."""
    keys = []
    for field in dataclasses.fields(one):
        value = getattr(one, field.name)
        if isinstance(value, int | float):
            keys.append(field.name)
        elif isinstance(value, Rates):
            rates = dataclasses.asdict(value).items()
            keys += [f"{field.name}.{dtype}" for dtype, rate in rates if rate is not None]
    return keys


@pytest.mark.parametrize("one", CHIPS.values(), ids=lambda one: one.name)
def test_every_number_has_a_source_with_text_tag_date_and_unit(one: Chip) -> None:
    assert len(numeric_keys(one)) >= 20
    for key in numeric_keys(one):
        source = one.sources[key]
        assert len(source.text) > 5, key
        assert source.tag is not Tag.USER, key
        assert datetime.date.fromisoformat(source.date), key
        assert quantity_of(key).unit, key
    assert set(one.sources) == set(numeric_keys(one)) | {"process"} == set(one.facts)


def test_every_tag_has_a_word_and_a_meaning() -> None:
    assert len({tag.label for tag in Tag}) == len({tag.says for tag in Tag}) == len(Tag)


@pytest.mark.parametrize("name", ["WSE2", "wse-2", "Wse_2", "cs2", "CS-2", "Cerebras WSE-2"])
def test_names_ignore_case_and_punctuation(name: str) -> None:
    assert chip(name) is WSE2


def test_every_chip_and_profile_is_found_by_its_own_name() -> None:
    for name, one in CHIPS.items():
        assert chip(name) is one
        for profile, facts in PROFILES[name].items():
            changed = chip(f"{name}@{profile}")
            assert changed.name == f"{name}@{profile}"
            differing = {key for key in one.facts if one.facts[key] != changed.facts[key]}
            assert differing == set(facts)


def test_profiles_combine_and_bring_their_sources_along() -> None:
    both = chip("cs3@silicon@clock750")
    assert (both.hop_cycles, both.clock_hz, both.link_bytes_per_cycle) == (2, 750e6, 32 / 9)
    assert both.sources["hop_cycles"] != WSE3.sources["hop_cycles"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("wse", "Did you mean wse"),
        ("blackhol", "Did you mean blackhole?"),
        ("h100", "Known: "),
        ("", "Known: "),
        ("wse3@silicone", "Did you mean silicon?"),
        ("dojo@silicon", "It has none."),
    ],
)
def test_an_unknown_name_offers_the_nearest(name: str, says: str) -> None:
    with pytest.raises(InputError, match=r"Unknown chip|has no profile") as caught:
        chip(name)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("grid_cols", 0),
        ("grid_cols", -3),
        ("grid_cols", 7.5),
        ("grid_rows", True),
        ("clock_hz", math.nan),
        ("clock_hz", math.inf),
        ("clock_hz", 10**400),
        ("clock_hz", "1.1 GHz"),
        ("hop_cycles", -1),
        ("reserved_per_core_bytes", -1),
        ("reserved_per_core_bytes", 49152),
        ("reserved_routes_per_core", 24),
        ("macs_per_cycle.float16", 0),
        ("nameplate_cores", 745_499),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(key: str, value: float | str) -> None:
    with pytest.raises(InputError) as caught:
        WSE2.with_facts({key: Fact(value, USER)}, name="odd")
    assert key.split(".", maxsplit=1)[0] in str(caught.value)


def test_an_unknown_data_type_names_those_that_the_chip_has() -> None:
    with pytest.raises(InputError, match="'float16' has no rate on this chip; it has bfloat16"):
        CHIPS["dojo_tile"].peak_flops("float16")


def test_missing_and_unknown_keys_are_named() -> None:
    facts = dict(WSE2.facts)
    del facts["clock_hz"], facts["hop_cycles"]
    with pytest.raises(InputError, match=r"Chip x lacks clock_hz, hop_cycles\."):
        Chip.of("x", "x", facts)
    with pytest.raises(InputError, match=r"Unknown key clock_ghz\. Did you mean clock_hz\?"):
        Chip.of("x", "x", {**WSE2.facts, "clock_ghz": Fact(1, USER)})


def test_a_number_without_a_source_is_refused() -> None:
    sources = {key: source for key, source in WSE2.sources.items() if key != "clock_hz"}
    with pytest.raises(InputError, match=r"clock_hz = .* has no source"):
        dataclasses.replace(WSE2, sources=sources)


def test_a_chip_is_a_value_that_hashes_and_pickles() -> None:
    assert hash(WSE2) == hash(Chip.of(WSE2.name, WSE2.title, WSE2.facts, WSE2.notes))
    assert pickle.loads(pickle.dumps(WSE2)) == WSE2 != WSE3
    assert list(WSE2.facts) == list(FIELDS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        WSE2.clock_hz = 1.0  # type: ignore[misc]


def test_importing_chips_brings_neither_jax_nor_numpy() -> None:
    code = "import sys, waferllm.chip; print({'jax', 'numpy', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
