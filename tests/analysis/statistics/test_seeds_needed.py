"""How many seeds an interval's width takes: a range, from the spread's own interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recalltrap_analysis.statistics.paired import (
    STUDENT,
    Estimate,
    instability_ratio,
    mean_interval,
    share_interval,
)
from recalltrap_analysis.statistics.seeds_needed import (
    MOST_SEEDS,
    sd_interval,
    seeds_for_width,
    seeds_range,
    width_at,
)


@pytest.mark.slow
def test_the_interval_of_a_spread_covers_as_often_as_it_says() -> None:
    sds = np.random.default_rng(2).normal(0, 0.3, size=(5000, 7)).std(axis=1, ddof=1)
    inside = [low <= 0.3 <= high for low, high in (sd_interval(float(sd), 7) for sd in sds)]
    assert np.mean(inside) == pytest.approx(0.8, abs=0.02)
    with pytest.raises(ValueError, match="one seed"):
        sd_interval(0.1, 1)


@given(st.floats(0.2, 3.0), st.integers(3, 40))
def test_a_range_gives_the_width_and_not_one_seed_more(width: float, n: int) -> None:
    now = Estimate(1.0, 0.5, 1.5, STUDENT, n)
    found = seeds_for_width(now, width)
    ends = zip(sd_interval(1.0, n), (found.low, found.high), strict=True)
    for spread, enough in ends:
        if enough < MOST_SEEDS:
            assert width_at(now, enough, spread) <= width
        assert enough == 2 or width_at(now, enough - 1, spread) > width
    assert width_at(now, n) == pytest.approx(1.0)
    assert found.low <= found.high
    # The range holds the number that the spread as estimated gives.
    assert found.capped or width_at(now, found.high) <= width


def test_a_range_holds_the_truth_as_often_as_it_says() -> None:
    """The number of seeds that the true spread takes."""
    values_SN = np.random.default_rng(3).normal(0, 1.0, size=(800, 10))
    width = 0.8
    truth = next(n for n in range(2, 99) if 2 * stats.t.ppf(0.975, n - 1) / np.sqrt(n) <= width)
    inside = []
    for values_N in values_SN:
        half = stats.t.ppf(0.975, 9) * values_N.std(ddof=1) / np.sqrt(10)
        found = seeds_for_width(Estimate(0.0, -half, half, STUDENT, 10), width)
        inside.append(found.low <= truth <= found.high)
    assert np.mean(inside) == pytest.approx(0.82, abs=0.05)


def test_shares_and_ratios() -> None:
    share = share_interval(10, 20)
    enough = seeds_for_width(share, 0.2)
    assert enough.low == enough.high
    found = share_interval(enough.low // 2, enough.low)
    assert found.high - found.low == pytest.approx(0.2, abs=0.003)
    assert seeds_for_width(share, share.high - share.low).text() == "20"
    first_N, second_N = np.random.default_rng(19).normal(size=(2, 20))
    ratio = instability_ratio(first_N, second_N)
    assert width_at(ratio, 20) == pytest.approx(ratio.high - ratio.low, rel=0.2)
    narrow = seeds_for_width(ratio, (ratio.high - ratio.low) / 1.5)
    assert 20 < narrow.low < 60 < narrow.high
    with pytest.raises(ValueError, match="one seed"):
        seeds_for_width(mean_interval([1.0], np.random.default_rng(0)), 0.1)
    with pytest.raises(ValueError, match="not positive"):
        seeds_for_width(share, 0.0)


def test_in_words() -> None:
    assert seeds_range(12, 19).text() == "12 to 19"
    assert seeds_range(12, 12).more_text(11) == "1 more seed"
    assert seeds_range(12, 300).text() == "12 to over 100"
    assert seeds_range(300, 500).text() == "more than 100"
    assert "can't be settled" in seeds_range(300, 500).more_text(8)
