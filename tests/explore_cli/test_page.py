"""The page of an exploration in a real browser: it sorts, filters, hovers, and asks for nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.explore_cli.browser import CHROMIUM, Page, browser
from tests.explore_cli.sample import NO_PRICE, exploration, row
from waferllm.errors import InputError
from waferllm.reports.explore_page import MAX_ROWS, page, write_page
from waferllm.reports.explore_plots import Sensitivity
from waferllm.reports.explore_rows import Exploration, ranked

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)
TORNADO = ("h200x8", "$ per Mtok", 0.1, (Sensitivity("price", -0.05, 0.05),))
NAMES = "[...document.querySelectorAll('tbody tr')].map(r => r.firstChild.firstChild.textContent)"
TIP = "document.getElementById('tip').hidden ? null : document.getElementById('tip').textContent"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def shown(tab: Page, tmp_path: Path) -> Page:
    path = tmp_path / "report.html"
    wicked = row("</script><b>wicked</b>", 2.0, 0.5, 10.0)
    made = exploration("12 of 90 designs, then Ctrl-C")
    made = replace(made, rows=ranked((*made.rows, wicked), "usd_per_mtok"))
    write_page(path, made, sensitivity=TORNADO)
    tab.requests.clear()
    tab.faults.clear()
    tab.open(path)
    return tab


WICKED = "</script><b>wicked</b>"


@needs_chromium
def test_a_click_on_a_heading_sorts_by_its_numbers_and_a_second_one_turns_it_round(
    shown: Page,
) -> None:
    assert shown.see(NAMES) == ["hbf-node", "h200x8", WICKED, "wse3x4", "phone"]
    shown.click("th[data-key=ttft_s] button")
    assert shown.see(NAMES) == ["wse3x4", "h200x8", "hbf-node", WICKED, "phone"]
    shown.click("th[data-key=ttft_s] button")
    assert shown.see(NAMES) == [WICKED, "hbf-node", "h200x8", "wse3x4", "phone"]
    shown.click("th[data-key=user_tokens_per_s] button")  # here more is better: most first
    assert shown.see(NAMES)[0] == "wse3x4"
    shown.click("#reset")
    assert shown.see(NAMES)[0] == "hbf-node"


@needs_chromium
def test_filters_by_words_by_fit_and_by_bounds(shown: Page) -> None:
    shown.type("#search", "flash wears")
    assert shown.see(NAMES) == ["hbf-node"]
    shown.click("#reset")
    shown.click("#fits")
    assert "phone" not in shown.see(NAMES)
    shown.type("th[data-key=usd_per_mtok] input", "0.5")
    assert shown.see(NAMES) == ["hbf-node"]
    assert shown.see("document.getElementById('count').textContent") == "1 of 5"


@needs_chromium
def test_hovering_says_what_a_figure_is_and_what_was_recalled(shown: Page) -> None:
    assert shown.see(TIP) is None
    shown.hover(".flag")
    assert "flash wears out in 4.1 years" in shown.see(TIP)
    shown.see("document.querySelectorAll('tbody tr')[3].querySelectorAll('td')[6].id = 'missing'")
    shown.hover("#missing")
    assert NO_PRICE in shown.see(TIP)
    shown.hover("#scatter circle.front")
    assert "$ per Mtok: 0.400" in shown.see(TIP)


@needs_chromium
def test_the_front_the_costs_and_the_tornado_are_drawn(shown: Page) -> None:
    # hbf-node is cheapest, h200x8 faster; the third priced one is worse in both.
    assert shown.see("document.querySelectorAll('#scatter circle').length") == 3
    assert shown.see("document.querySelectorAll('#scatter circle.front').length") == 2
    assert shown.see("document.querySelectorAll('#cost rect').length") == 9
    widths = "[...document.querySelectorAll('#cost rect')].slice(0, 3).map(r => +r.getAttribute('width'))"
    capital, energy, hosting = shown.see(widths)
    assert (capital / hosting, energy / hosting) == pytest.approx((3, 2))
    assert shown.see("document.querySelectorAll('#tornado rect').length") == 2
    assert "12 of 90 designs" in shown.see("document.getElementById('partial').textContent")


@needs_chromium
def test_nothing_is_asked_of_the_network_and_no_name_runs_as_markup(shown: Page) -> None:
    assert [url.split(":")[0] for url in shown.requests] == ["file"]
    assert shown.faults == []
    assert shown.see("document.querySelector('b')") is None


def test_a_large_sweep_keeps_its_front_and_says_how_much_it_left_out(tmp_path: Path) -> None:
    rows = [row(f"d{n}", 1.0 + n, 0.1, 10.0 + n % 7) for n in range(MAX_ROWS + 500)]
    last = row("fastest", 1e6, 0.1, 1e6)
    text = page(
        Exploration("large", "$ per Mtok", (*rows, last)), "usd_per_mtok", "user_tokens_per_s", None
    )
    assert f"{MAX_ROWS + 501:,} designs were evaluated; this page keeps {MAX_ROWS:,}" in text
    assert '"fastest"' in text
    with pytest.raises(InputError, match="html"):
        write_page(tmp_path / "report.txt", exploration())
