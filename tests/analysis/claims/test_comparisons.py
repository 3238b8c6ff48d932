"""The rules by which a difference over a grid is larger, on numbers with a known answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import stdtrit

from recalltrap_analysis.claims.comparisons import (
    DifferenceGrid,
    bound,
    critical_t,
    on_average,
    points_of,
    rising,
    slope_along,
    somewhere,
    verdict_of,
)
from recalltrap_analysis.claims.pool import Series
from recalltrap_analysis.claims.spreads import spread_finding
from recalltrap_analysis.claims.verdict import Finding
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.margin import MARGIN
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.student import ONE_SIDED, student_interval

WEIGHTS = (0.5, 1.0, 2.0, 4.0)
RULES: dict[str, Callable[[DifferenceGrid], Finding]] = {
    "rising": partial(rising, stratum="", name="", weight="kl_weight"),
    "somewhere": partial(somewhere, stratum="", name=""),
    "on average": partial(on_average, stratum="", name=""),
}


def grid_of(values_PN: Array, weights: tuple[float, ...] = WEIGHTS) -> DifferenceGrid:
    seeds = tuple(range(values_PN.shape[1]))
    series = [
        Series({"kl_weight": weight}, (), seeds, values_N[None], "complete", frozenset([i]))
        for i, (weight, values_N) in enumerate(zip(weights, values_PN, strict=True))
    ]
    return DifferenceGrid.of(series, lambda values_AN: values_AN)


def noisy(means: list[float], sd: float = 0.02, seeds: int = 10) -> DifferenceGrid:
    """Means at the weights, exactly, and the same spread around each."""
    noise_N = np.linspace(-1, 1, seeds)
    other_N = np.roll(noise_N, 3)
    rows = [m + sd * (noise_N + 0.3 * i * other_N) for i, m in enumerate(means)]
    return grid_of(np.array(rows))


@pytest.mark.parametrize(
    ("means", "on_the_rise", "some", "average"),
    [
        ([0.0, 0.1, 0.2, 0.3], "reproduced", "reproduced", "reproduced"),
        ([0.3, 0.2, 0.1, 0.0], "mixed", "reproduced", "reproduced"),
        ([0.2, 0.2, 0.2, 0.2], "undecided", "reproduced", "reproduced"),
        ([0.0, 0.0, 0.0, 0.15], "reproduced", "reproduced", "not reproduced"),
        ([-0.2, 0.0, 0.2, 0.4], "mixed", "reproduced", "mixed"),
        ([-0.02, 0.0, 0.1, 0.3], "reproduced", "reproduced", "reproduced"),
        ([0.0, 0.0, 0.0, 0.0], "not reproduced", "not reproduced", "not reproduced"),
        ([0.0, 0.0, 0.01, 0.02], "not reproduced", "not reproduced", "not reproduced"),
        ([-0.4, -0.3, -0.2, -0.1], "not reproduced", "not reproduced", "not reproduced"),
        ([0.0, 0.02, 0.04, 0.05], "undecided", "undecided", "not reproduced"),
    ],
)
def test_what_each_rule_makes_of_a_grid(
    means: list[float], on_the_rise: str, some: str, average: str
) -> None:
    grid = noisy(means)
    found = {name: rule(grid).verdict for name, rule in RULES.items()}
    assert found == {"rising": on_the_rise, "somewhere": some, "on average": average}


@pytest.mark.parametrize("rule", list(RULES))
def test_noise_and_single_seeds_decide_nothing(rule: str) -> None:
    assert RULES[rule](noisy([0.0, 0.1, 0.2, 0.3], sd=3.0)).verdict == "undecided"
    single = RULES[rule](noisy([0.0, 0.1, 0.2, 0.3], seeds=1))
    assert single.verdict == "undecided"
    assert "two seeds at least" in single.detail
    nothing = RULES[rule](DifferenceGrid((), (), ("incomplete",)))
    assert nothing.verdict == "not tested"


@pytest.mark.slow
@pytest.mark.parametrize("rule", list(RULES))
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 200), top=st.floats(-0.2, 0.4))
def test_a_finer_grid_of_the_same_curve_decides_the_same(rule: str, seed: int, top: float) -> None:
    generator = np.random.default_rng(seed)
    coarse_PN = top * np.linspace(0, 1, 4)[:, None] + 0.05 * generator.normal(size=(4, 12))
    # each weight once more, a hair above: the same experiment told twice
    weights = tuple(w * f for w in WEIGHTS for f in (1, 1.0001))
    fine = grid_of(np.repeat(coarse_PN, 2, axis=0), weights)
    assert RULES[rule](fine).verdict == RULES[rule](grid_of(coarse_PN)).verdict


@pytest.mark.parametrize("rule", list(RULES))
def test_few_seeds_rule_out_a_lead_only_where_it_is_a_lag(rule: str) -> None:
    assert RULES[rule](noisy([0.0, 0.0, 0.01, 0.02], seeds=7)).verdict == "undecided"
    assert RULES[rule](noisy([0.0, 0.0, 0.01, 0.02], seeds=8)).verdict == "not reproduced"
    assert RULES[rule](noisy([-0.4, -0.3, -0.2, -0.1], seeds=5)).verdict == "not reproduced"


def test_a_bound_at_all_points_together_lies_between_one_point_and_bonferroni() -> None:
    values_NP = np.random.default_rng(3).normal(size=(12, 6))
    alone, bonferroni = stats.t.ppf([0.95, 1 - 0.05 / 6], 11)
    assert critical_t(values_NP[:, :1], 0.05) == pytest.approx(alone)
    assert critical_t(np.repeat(values_NP[:, :1], 6, axis=1), 0.05) == pytest.approx(
        alone, rel=0.05
    )
    assert alone * 1.1 < critical_t(values_NP, 0.05) < bonferroni
    assert critical_t(values_NP[:5], 0.05) == pytest.approx(stats.t.ppf(1 - 0.05 / 6, 4))


def test_points_are_beyond_and_below_together_and_excluded_by_themselves() -> None:
    points = points_of(noisy([-0.2, 0.0, 0.052, 0.3], sd=0.02))
    assert points.beyond.tolist() == [False, False, False, True]
    assert points.below.tolist() == points.doubtful.tolist() == [True, False, False, False]
    assert points.excluded.tolist() == [True, True, False, False]


def test_all_differences_of_a_claim_must_hold() -> None:
    grid = noisy([0.0, 0.1, 0.2, 0.3])
    both = [np.concatenate([v, -v]) for v in grid.differences_KN]
    against = DifferenceGrid(grid.series, tuple(both), (), (MARGIN, MARGIN))
    assert somewhere(against, "", "").verdict == "not reproduced"
    level = [np.concatenate([v, np.abs(v) * 0 + 0.06]) for v in grid.differences_KN]
    agreeing = DifferenceGrid(grid.series, tuple(level), (), (MARGIN, MARGIN))
    assert somewhere(agreeing, "", "").verdict == "reproduced"


def test_the_slope_is_per_doubling_and_within_what_else_is_swept() -> None:
    grid = noisy([0.1, 0.2, 0.3, 0.4], sd=0.0)
    found = slope_along(grid, "kl_weight")
    assert found is not None
    assert found.value == pytest.approx(0.1)
    assert slope_along(grid, None) is None
    assert slope_along(noisy([0.1, 0.2, 0.3, 0.4]), "iterations") is None
    shifted = [
        Series({**one.label, "student_components": c}, (), one.seeds, one.values_AN + c, "complete",
               one.points)
        for c in (3, 4) for one in grid.series
    ]  # fmt: skip
    apart = slope_along(DifferenceGrid.of(shifted, lambda v: v), "kl_weight")
    assert apart is not None
    assert apart.value == pytest.approx(0.1)


@pytest.mark.parametrize("rule", ["somewhere", "on average"])
def test_looks_ask_for_more(rule: str) -> None:
    """At one look the bound is just beyond the margin; with four it isn't."""
    level = nominal_level((3, 6, 9, 12))
    noise_N = np.linspace(-1, 1, 12)
    error = noise_N.std(ddof=1) / 12**0.5
    once, often = (float(stdtrit(11, 1 - one)) * error for one in (ONE_SIDED, level))
    grid = grid_of((MARGIN + (once + often) / 2 + noise_N)[None], (1.0,))
    assert RULES[rule](grid).verdict == "reproduced"
    looked = replace(grid, series=tuple(replace(one, level=level) for one in grid.series))
    assert RULES[rule](looked).verdict == "undecided"


@pytest.mark.slow
def test_a_spread_is_judged_by_a_wider_interval_after_looks() -> None:
    noise_N = np.random.default_rng(0).normal(size=20)
    other_N = np.random.default_rng(1).normal(size=20)

    def judged(level: float, wide: float) -> str:
        values_AN = np.stack([wide * noise_N, other_N])
        one = Series({}, (), tuple(range(20)), values_AN, "complete", frozenset([0]), level)
        return spread_finding([one], [0], [1], "", "ratio").verdict

    level = nominal_level((3, 6, 9, 12, 20))
    widths = np.geomspace(1, 4, 200)
    first, later = (
        next(wide for wide in widths if judged(one, float(wide)) == "reproduced")
        for one in (ONE_SIDED, level)
    )
    assert first < later < 1.5 * first


def test_one_sided_bounds_are_those_of_students_t() -> None:
    values_N = np.array([0.1, 0.3, 0.2, 0.5, 0.4])
    mean = student_interval(values_N)
    expected = stats.ttest_1samp(values_N, 0, alternative="greater").confidence_interval(0.95)
    assert bound(mean, -1) == pytest.approx(expected.low)
    assert bound(student_interval(values_N[:1]), 1) == np.inf


@given(*(st.booleans() for _ in range(4)), st.floats(-1, 1), st.floats(0, 1))
def test_not_reproduced_needs_an_interval_against_the_claim(
    beyond: bool, excluded: bool, below: bool, doubtful: bool, low: float, width: float
) -> None:
    verdict = verdict_of(beyond, excluded, below, doubtful, (low, low + width))
    if verdict == "not reproduced":
        assert excluded or below
    if verdict == "reproduced":
        assert beyond
        assert not excluded
        assert not below
        assert not doubtful
        assert low > 0
    assert verdict_of(False, False) == "undecided"
