"""Student's t: intervals, bounds at other levels, shares of a whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recalltrap_analysis.statistics.student import (
    FIELLER,
    one_sided_bounds,
    p_larger,
    p_not_larger,
    p_not_smaller,
    p_smaller,
    share_of_whole,
    student_interval,
)

numbers = st.lists(st.floats(-5, 5), min_size=2, max_size=12)


@given(numbers)
def test_interval_and_bounds_are_those_of_scipy(values: list[float]) -> None:
    found = student_interval(values)
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    quantile = stats.t(len(values) - 1).ppf
    assert (found.low, found.high) == pytest.approx(
        (mean - quantile(0.975) * error, mean + quantile(0.975) * error), abs=1e-9
    )
    lower, upper = one_sided_bounds(found)
    assert (lower, upper) == pytest.approx(
        (mean - quantile(0.95) * error, mean + quantile(0.95) * error), abs=1e-9
    )
    strict = one_sided_bounds(found, 0.01)
    assert strict[0] <= lower <= found.value <= upper <= strict[1]


def test_one_seed_has_no_interval() -> None:
    found = student_interval([0.3])
    assert (found.value, found.n) == (0.3, 1)
    assert np.isnan([found.low, found.high, *one_sided_bounds(found)]).all()


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        student_interval([0.1, np.nan])


@given(numbers, st.floats(0, 2))
def test_one_sided_p_values_are_those_of_scipy(values: list[float], margin: float) -> None:
    if np.std(values) < 1e-6:
        return
    larger = stats.ttest_1samp(values, margin, alternative="greater").pvalue
    smaller = stats.ttest_1samp(values, -margin, alternative="less").pvalue
    assert p_larger(values, margin) == pytest.approx(larger, abs=1e-9)
    assert p_smaller(values, margin) == pytest.approx(smaller, abs=1e-9)
    assert p_not_larger(values, margin) == pytest.approx(1 - larger, abs=1e-9)
    assert p_not_smaller(values, margin) == pytest.approx(1 - smaller, abs=1e-9)


def test_values_that_do_not_vary_decide_by_their_mean() -> None:
    tests = (p_larger, p_smaller, p_not_larger, p_not_smaller)
    for mean, expected in (
        (0.0, (1, 1, 0, 0)),
        (0.05, (1, 1, 0, 0)),  # at the margin isn't beyond it
        (0.06, (0, 1, 1, 0)),
        (-0.06, (1, 0, 0, 1)),
    ):
        assert tuple(test([mean] * 4, 0.05) for test in tests) == expected
    assert np.isnan([test([0.3], 0.05) for test in tests]).all()
    with pytest.raises(ValueError, match="not finite"):
        p_larger([0.1, np.nan], 0.05)


@given(st.integers(0, 10_000), st.floats(-2, 2))
def test_the_limits_of_a_share_are_where_its_t_test_turns(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    whole = generator.normal(1.0, 0.3, size=9)
    part = share * whole + generator.normal(0, 0.1, size=9)
    found = share_of_whole(part, whole)
    if found.method != FIELLER:
        assert stats.ttest_1samp(whole, 0).pvalue >= 0.05
        return
    assert found.low <= found.value <= found.high
    for limit in (found.low, found.high):
        assert stats.ttest_1samp(part - limit * whole, 0).pvalue == pytest.approx(0.05, abs=1e-6)


def test_a_share_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    inside = []
    for _ in range(1500):
        whole = generator.normal(0.5, 0.3, size=10)
        part = 0.6 * whole + generator.normal(0, 0.2, size=10)
        found = share_of_whole(part, whole)
        if found.method == FIELLER:
            inside.append(found.low <= 0.6 <= found.high)
    assert len(inside) > 1400
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_no_share_of_nothing() -> None:
    whole = np.array([-1.0, 1.0, -0.5, 0.6])
    found = share_of_whole(np.ones(4), whole)
    assert np.isnan([found.low, found.high]).all()
    assert "isn't clear of 0" in found.method
    with pytest.raises(ValueError, match="same seeds"):
        share_of_whole(np.ones(3), whole)
