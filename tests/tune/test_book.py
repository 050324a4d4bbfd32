"""The tables of whole models against ratios worked out by hand."""

from types import SimpleNamespace

import pytest

from waferllm.plmr.energy import STATIC
from waferllm.tune import book


def test_energy_ratios_are_joules_over_joules(monkeypatch):
    """A millisecond a token on the wafer, and one joule of activity beside the static share."""
    phase = SimpleNamespace(dynamic_j=1.0)
    prompt = SimpleNamespace(dynamic_j=4096.0)
    made = SimpleNamespace(ttft_s=4.096, tpot_s=1e-3, prefill=prompt, decode=phase)
    monkeypatch.setattr(book, "_placed", lambda *lengths: made)
    rows = book._energy().rows
    assert [row[:2] for row in rows[:3]] == [("prefill", f"{n} A100") for n in (1, 8, 16)]
    published = [13988.3, 17361.6, 13994.2, 78.9, 260.4, 164.6]  # tokens/s of SGLang, OSDI'25
    for row, rate, gpus in zip(rows, published, (1, 8, 16) * 2, strict=True):
        _, _, layers, whole, layers_j, constant_j, activity_j = row
        assert whole == pytest.approx(1000 / rate, rel=5e-3)
        assert layers_j == pytest.approx(layers * gpus / 37.5, rel=1e-2)  # the paper's rule
        assert constant_j == pytest.approx(1000 / rate * gpus / 37.5, rel=5e-3)
        wafer_j = 1 + STATIC.value * 15_000 * 1e-3
        assert activity_j == pytest.approx(gpus * 400 / rate / wafer_j, rel=5e-3)
