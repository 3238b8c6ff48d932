"""How numbers are written: each kind in one way, a dash where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recalltrap_analysis.number_format import (
    count_text,
    decimal_text,
    duration_text,
    estimate_text,
    interval_text,
    p_text,
    point_lines,
    point_text,
    quantity_text,
    range_text,
    ratio_text,
    row_interval,
    setting_text,
    share_text,
    signed_text,
    significant_text,
)
from recalltrap_analysis.statistics.paired import Estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12.345, "12.3"), (4321, "4321"), (12345, "12.35k"), (3.2e6, "3.2M"),
     (7e13, "7.00e+13"), (np.nan, "–"), (np.inf, "∞")],
)  # fmt: skip
def test_quantities(value: float, text: str) -> None:
    assert quantity_text(value) == text
    assert duration_text(value) == f"{text} s"


def test_a_number_that_there_is_none_of_is_a_dash() -> None:
    nan = float("nan")
    assert {
        decimal_text(nan), signed_text(nan), significant_text(nan), p_text(nan), share_text(nan),
        ratio_text(1.0, 0.0), range_text([nan]), interval_text(nan, 0.0, 1.0), estimate_text(None),
    } == {"–"}  # fmt: skip


def test_numbers_have_no_negative_zero_and_differences_have_a_sign() -> None:
    assert decimal_text(-0.001) == "0.00"
    assert signed_text(0.126) == "+0.13"
    assert significant_text(0.012345) == "0.0123"
    assert p_text(0.0312) == "0.031"
    assert range_text([0.5, np.nan, -0.25]) == "-0.25 to 0.50"


def test_small_shares_get_a_digit_more() -> None:
    assert (share_text(0.0123), share_text(0.123), share_text(0.123, 2)) == (
        "1.2%", "12%", "12.30%",
    )  # fmt: skip


def test_intervals() -> None:
    assert interval_text(0.625, 0.5, 0.75) == "0.62 [0.50, 0.75]"
    assert interval_text(1.0, np.nan, np.nan) == "1.00 [no interval]"
    assert interval_text(1.0, 0.5, np.inf) == "1.00 [0.50, ∞]"
    row = pd.Series({"a": 1.0, "a_low": 0.0, "a_high": 2.0})
    assert row_interval(row, "a", 1) == "1.0 [0.0, 2.0]"
    assert estimate_text(Estimate(1.0, 0.0, 2.0, "Student's t", 5)) == "1.00 [0.00, 2.00]"


def test_counts_and_settings() -> None:
    assert [count_text(1, "cell"), count_text(2, "cell"), count_text(2, "study")] == [
        "1 cell", "2 cells", "2 studies",
    ]  # fmt: skip
    assert [setting_text(v) for v in (0.10, (1, 2), True, None, "ppo")] == [
        "0.1", "[1, 2]", "True", "None", "ppo",
    ]  # fmt: skip
    point, axes = (2.0, (0, 7)), ("kl_weight", "targets")
    assert point_text(point, axes) == "kl_weight 2, targets [0, 7]"
    assert point_lines(point, axes) == "kl_weight 2\ntargets [0, 7]"
    assert point_text((), ()) == "the only grid point"
