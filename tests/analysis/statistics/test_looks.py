"""The level of each look: what all looks together risk, measured on other random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recalltrap_analysis.statistics.looks import nested_t, nominal_level

PLANS = [(5, 8, 12), (3, 6, 9, 12), (2, 20), (8, 9)]


def risk(looks: tuple[int, ...], level: float, studies: int = 60_000) -> float:
    """How often seeds drawn one by one reject a true null at any look."""
    values_SN = np.random.default_rng(1).normal(size=(studies, max(looks)))
    rejected_S = np.zeros(studies, dtype=bool)
    for n in looks:
        found = stats.ttest_1samp(values_SN[:, :n], 0, axis=1, alternative="greater")
        rejected_S |= found.pvalue <= level
    return float(rejected_S.mean())


@pytest.mark.slow
@pytest.mark.parametrize("looks", PLANS)
def test_all_looks_together_risk_five_per_cent(looks: tuple[int, ...]) -> None:
    level = nominal_level(looks)
    assert 0.05 / len(looks) < level < 0.05
    assert risk(looks, level) == pytest.approx(0.05, abs=0.003)  # three standard errors


def test_unadjusted_looks_find_twelve_per_cent() -> None:
    assert risk((3, 6, 9, 12), 0.05) == pytest.approx(0.125, abs=0.008)


@pytest.mark.parametrize("looks", [(), (8,), (8, 8), (1, 8)])
def test_one_look_is_no_adjustment(looks: tuple[int, ...]) -> None:
    assert nominal_level(looks) == 0.05
    assert nominal_level(looks, tests=7) == 0.05


def test_the_order_of_looks_and_the_call_change_nothing() -> None:
    assert nominal_level((12, 5, 8)) == nominal_level([5, 8, 12, 12]) == nominal_level((5, 8, 12))


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.sets(st.integers(2, 30), min_size=2, max_size=4), st.integers(2, 30))
def test_another_look_never_loosens_the_level(looks: set[int], more: int) -> None:
    # To within the error of the simulation: looks next to each other share nearly everything.
    assert nominal_level([*looks, more]) <= nominal_level(list(looks)) + 0.0005


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(PLANS), st.integers(1, 30), st.integers(1, 30))
def test_more_tests_never_loosen_the_level(looks: tuple[int, ...], one: int, two: int) -> None:
    few, many = sorted((one, two))
    # 3.5 % is the simulation's standard error at 30 tests.
    assert nominal_level(looks, tests=many) <= nominal_level(looks, tests=few) * 1.1
    # What is left for one of them is never less than a union bound over the looks gives.
    assert nominal_level(looks, tests=many) >= 0.05 / len(looks) * 0.9


@pytest.mark.parametrize("n", [2, 3, 20])
def test_the_simulated_statistic_is_students_t(n: int) -> None:
    """At the last look, drawn in groups; and with a shift, noncentral."""
    shift = 0.4
    t_S = nested_t((2, n) if n > 2 else (2,), 40_000)[-1]
    assert stats.kstest(t_S, stats.t(n - 1).cdf).pvalue > 0.001
    shifted_S = nested_t((2, n) if n > 2 else (2,), 40_000, shift)[-1]
    expected = stats.nct(n - 1, shift * n**0.5)
    assert stats.kstest(shifted_S, expected.cdf).pvalue > 0.001


@pytest.mark.parametrize("level", [0.0, 0.5, -1.0, float("nan")])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="one-sided level"):
        nominal_level((5, 8), level)
    with pytest.raises(ValueError, match="0 tests"):
        nominal_level((5, 8), tests=0)
