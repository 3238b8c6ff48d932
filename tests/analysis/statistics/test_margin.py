"""The words for an effect, from its bounds and a margin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap_analysis.statistics.margin import (
    LARGER,
    NOT_LARGER,
    SMALL_FROM,
    SMALLER,
    UNDECIDED,
    WITHIN,
    Decisions,
    contradict,
    decision_words,
    margin_words,
    not_seen,
)
from recalltrap_analysis.statistics.student import (
    one_sided_bounds,
    p_larger,
    p_not_larger,
    p_not_smaller,
    p_smaller,
    student_interval,
)

CASES = [
    (0.06, 0.30, 20, LARGER),
    (0.06, 0.30, 3, LARGER),
    (0.05, 0.30, 20, UNDECIDED),  # at the margin isn't beyond it
    (0.01, 0.30, 20, UNDECIDED),
    (-0.30, 0.30, 20, UNDECIDED),
    (-0.30, 0.051, 20, UNDECIDED),
    (-0.04, 0.04, 20, WITHIN),
    (-0.05, 0.05, 8, WITHIN),
    (0.01, 0.03, 20, WITHIN),  # surely above 0, and too small to matter
    (-0.04, 0.04, 7, "not seen in 7 seeds"),
    (-0.30, 0.04, 20, NOT_LARGER),
    (-0.30, 0.04, 5, "not seen in 5 seeds"),
    (-0.30, -0.04, 20, NOT_LARGER),
    (-0.30, -0.05, 20, NOT_LARGER),
    (-0.30, -0.06, 20, SMALLER),
    (-0.30, -0.06, 3, SMALLER),
    (math.nan, math.nan, 1, UNDECIDED),
]


@pytest.mark.parametrize(("low", "high", "n", "words"), CASES)
def test_words(low: float, high: float, n: int, words: str) -> None:
    assert margin_words(low, high, n) == words


@pytest.mark.parametrize("n", [3, 8])
@pytest.mark.parametrize("values", [[0.0, 0.0], [0.05, 0.05], [0.2, 0.2], [-0.2, -0.2]])
def test_bounds_and_p_values_agree_on_values_that_do_not_vary(n: int, values: list[float]) -> None:
    values = (values * n)[:n]
    assert words_by_p(values, 0.05, 0.05) == words_by_bounds(values, 0.05, 0.05)


@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=14),
    st.floats(0, 0.5),
    st.sampled_from([0.05, 0.0183]),
)
def test_bounds_and_p_values_lead_to_the_same_words(
    values: list[float], margin: float, level: float
) -> None:
    bounds = one_sided_bounds(student_interval(values), level)
    if min(abs(abs(bound) - margin) for bound in bounds) < 1e-9 or np.std(values) < 1e-9:
        return  # rounding decides there
    assert words_by_p(values, margin, level) == words_by_bounds(values, margin, level)


def words_by_p(values: list[float], margin: float, level: float) -> str:
    tests = (p_larger, p_smaller, p_not_larger, p_not_smaller)
    return decision_words(
        Decisions(*(test(values, margin) <= level for test in tests)), len(values)
    )


def words_by_bounds(values: list[float], margin: float, level: float) -> str:
    return margin_words(*one_sided_bounds(student_interval(values), level), len(values), margin)


bounds = st.floats(-1, 1)


@given(bounds, bounds, st.integers(2, 30), st.floats(0, 0.5))
def test_words_hold_for_every_effect_between_the_bounds(
    one: float, two: float, n: int, margin: float
) -> None:
    low, high = sorted((one, two))
    words = margin_words(low, high, n, margin)
    meaning = {
        LARGER: low > margin,
        SMALLER: high < -margin,
        WITHIN: -margin <= low and high <= margin and n >= SMALL_FROM,
        NOT_LARGER: low < -margin <= high <= margin and n >= SMALL_FROM,
        UNDECIDED: low <= margin < high,
        not_seen(n): n < SMALL_FROM and -margin <= high <= margin,
    }
    assert [word for word, holds in meaning.items() if holds] == [words]


@given(bounds, bounds, st.integers(8, 30), st.floats(0, 0.5))
def test_turned_around_larger_is_smaller(one: float, two: float, n: int, margin: float) -> None:
    low, high = sorted((one, two))
    turned = margin_words(-high, -low, n, margin)
    pairs = {LARGER: SMALLER, SMALLER: LARGER, WITHIN: WITHIN}
    words = margin_words(low, high, n, margin)
    assert words not in pairs or turned == pairs[words]


@given(bounds, bounds, st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_wider_interval_never_says_more(
    one: float, two: float, margin: float, wider: float
) -> None:
    low, high = sorted((one, two))
    words = margin_words(low - wider, high + wider, 20, margin)
    before = margin_words(low, high, 20, margin)
    weaker = {WITHIN: {WITHIN, NOT_LARGER, UNDECIDED}, NOT_LARGER: {NOT_LARGER, UNDECIDED},
              LARGER: {LARGER, UNDECIDED}, SMALLER: {SMALLER, NOT_LARGER, UNDECIDED},
              UNDECIDED: {UNDECIDED}}  # fmt: skip
    assert words in weaker[before]


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_a_margin_is_a_number_from_0_on(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        margin_words(0, 1, 10, margin)


def test_bounds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="above the upper"):
        margin_words(1, 0, 10)


def test_two_verdicts_contradict_where_no_effect_has_both() -> None:
    """Against the verdicts of intervals so narrow that they are one effect each."""
    effects = {LARGER: [0.1], SMALLER: [-0.1], WITHIN: [0.0], NOT_LARGER: [0.0, -0.1]}
    narrow = {word: {margin_words(e, e, 20, 0.05) for e in of} for word, of in effects.items()}
    for one, can in narrow.items():
        for other, also in narrow.items():
            assert contradict(one, other) == (not can & also), (one, other)
        assert not contradict(one, UNDECIDED)
        assert not contradict(not_seen(7), one)
