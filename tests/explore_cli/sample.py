"""A small exploration made by hand, for what is shown; its figures are chosen, not predicted."""

from waferllm.reports.explore_rows import Exploration, Figure, Row, ranked

NO_PRICE = "no price of wse3x4 is known"


def figures(usd: float | None, ttft_s: float, user: float) -> dict[str, Figure]:
    """Eight figures that follow from three by arithmetic."""
    system = 40 * user
    power_w = 12_000.0
    dollars = Figure(None, why_missing=NO_PRICE) if usd is None else Figure(usd, usd / 2, usd * 2)
    return {
        "ttft_s": Figure(ttft_s),
        "tpot_s": Figure(1 / user),
        "user_tokens_per_s": Figure(user),
        "system_tokens_per_s": Figure(system),
        "power_w": Figure(power_w, 9_000.0, 15_000.0),
        "usd_per_mtok": dollars,
        "gco2e_per_mtok": Figure(power_w / system * 100),
        "joules_per_token": Figure(power_w / system),
    }


def row(name: str, usd: float | None, ttft_s: float, user: float, **more: object) -> Row:
    """A row that fits, with eight devices and a cost in three parts."""
    parts = {} if usd is None else {"capital": usd / 2, "energy": usd / 3, "hosting": usd / 6}
    return Row(
        name=name,
        figures=figures(usd, ttft_s, user),
        sharding="TP8",
        devices=8,
        batch=40,
        prefill_bound="compute",
        decode_bound="HBM bandwidth",
        helps_most="+10 % HBM bandwidth: 8 % lower $ per Mtok",
        cost_usd_per_mtok=parts,
        **more,  # type: ignore[arg-type]
    )


def exploration(partial: str = "") -> Exploration:
    """Four rows: two priced, one without a price, one that does not fit."""
    rows = (
        row("h200x8", 0.9, 0.21, 45.0),
        row("wse3x4", None, 0.04, 900.0, recalled=("wafer price",)),
        row("hbf-node", 0.4, 0.35, 30.0, warnings=("flash wears out in 4.1 years",)),
        Row("phone", why_not="weights need 141 GB, and its memory holds 16 GB"),
    )
    return Exploration(
        "llama3-70b, chat",
        "$ per Mtok",
        ranked(rows, "usd_per_mtok"),
        notes=("Electricity 0.08 $/kWh (SEEN-2).",),
        partial=partial,
    )
