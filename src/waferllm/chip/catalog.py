"""The chips by name. `chip("WSE-2")`, `chip("cs3")`, and `chip("wse3@silicon")` for a profile.

Where sources disagree (clock, hop, code size) the chip holds one value and a profile the other:
`PROFILES[chip][profile]` is the set of facts that differ.
"""

from collections.abc import Mapping

from waferllm.chip.facts import Fact, nearest
from waferllm.chip.meshes import BLACKHOLE, BLACKHOLE_PROFILES, DOJO_TILE
from waferllm.chip.model import Chip
from waferllm.chip.wafers import WSE2, WSE2_PROFILES, WSE3, WSE3_PROFILES
from waferllm.errors import InputError

CHIPS: Mapping[str, Chip] = {chip.name: chip for chip in (WSE2, WSE3, DOJO_TILE, BLACKHOLE)}
PROFILES: Mapping[str, Mapping[str, Mapping[str, Fact]]] = {
    WSE2.name: WSE2_PROFILES,
    WSE3.name: WSE3_PROFILES,
    DOJO_TILE.name: {},
    BLACKHOLE.name: BLACKHOLE_PROFILES,
}
ALIASES: Mapping[str, str] = {
    "cs2": "wse2",
    "cerebraswse2": "wse2",
    "cs3": "wse3",
    "cerebraswse3": "wse3",
    "dojo": "dojo_tile",
    "dojotile": "dojo_tile",
    "tesladojo": "dojo_tile",
    "p150": "blackhole",
    "p150a": "blackhole",
    "p150b": "blackhole",
    "tenstorrent": "blackhole",
    "tenstorrentblackhole": "blackhole",
}


def chip(name: str) -> Chip:
    """The chip of a name or alias, in any case and with `-`, `_` or spaces; `@` adds profiles.

    Raises `InputError` with the nearest name for an unknown chip or profile.
    """
    wanted, *profiles = name.split("@")
    plain = "".join(letter for letter in wanted.lower() if letter.isalnum())
    known = ALIASES.get(plain, plain)
    if known not in CHIPS:
        raise InputError(
            f"Unknown chip {wanted!r}. {nearest(plain, CHIPS, ALIASES)}"
            " `waferllm chips` lists them; --chip FILE.toml takes one of your own."
        )
    found = CHIPS[known]
    for profile in profiles:
        found = _with_profile(found, known, profile)
    return found


def _with_profile(found: Chip, known: str, profile: str) -> Chip:
    """`found` with the facts of one of its profiles; the name says so."""
    offered = PROFILES[known]
    if profile not in offered:
        hint = nearest(profile, offered) if offered else "It has none."
        raise InputError(f"Chip {known} has no profile {profile!r}. {hint}")
    return found.with_facts(offered[profile], name=f"{found.name}@{profile}")
