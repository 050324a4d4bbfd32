"""Units: decimal and binary multiples, and how numbers are shown to people."""

KiB = 1024
MiB = 1024**2
GiB = 1024**3
KB = 10**3
MB = 10**6
GB = 10**9
MHz = 10**6
GHz = 10**9


def show_bytes(count: float) -> str:
    """Bytes for a person, in binary multiples: `show_bytes(49152) == "48.0 KiB"`."""
    for unit, scale in (("GiB", GiB), ("MiB", MiB), ("KiB", KiB)):
        if abs(count) >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} B"


def show_count(count: float) -> str:
    """A count for a person: thousands separated, no fraction."""
    return f"{count:,.0f}"
