"""One seed's points against another ordering's curve of reward over recall."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap_analysis.estimates.reward_recall import at_equal_recall, best_within

values = st.lists(st.floats(-4, 4), min_size=3, max_size=8)


def test_both_readings_of_a_known_curve() -> None:
    # Best reward by recall: 3 up to recall -4, 2 at -2 (the 1 at -3 is worse in both), 0 at -1.
    other_reward, other_recall = np.array([3.0, 1.0, 2.0, 0.0]), np.array([-4.0, -3.0, -2.0, -1.0])
    recall = np.array([-5.0, -4.0, -3.0, -1.5, -1.0, -0.5])
    found = at_equal_recall(np.full(6, 2.5), recall, other_reward, other_recall)
    np.testing.assert_allclose(found.interpolated, [np.nan, -0.5, 0.5, 1.5, 2.5, np.nan])
    np.testing.assert_allclose(found.grid, [-0.5, -0.5, 0.5, 2.5, 2.5, np.nan])
    assert found.dominated.tolist() == [True, False, False, False, False, False]


@given(values, st.data())
def test_an_ordering_never_beats_its_own_curve(reward: list[float], data: st.DataObject) -> None:
    recall = data.draw(st.lists(st.floats(-4, 4), min_size=len(reward), max_size=len(reward)))
    one = (np.array(reward), np.array(recall))
    found = at_equal_recall(*one, *one)
    assert (found.interpolated <= 1e-12).all()
    assert (found.grid <= 0).all()
    dominated = found.dominated
    assert (found.grid[dominated] < 0).all()
    assert not dominated[np.argmax(one[0])]


@given(values, values, st.integers(0, 1000))
def test_the_coarse_reading_favours_the_points_compared(
    reward: list[float], other: list[float], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    recall, other_recall = (generator.normal(size=len(some)) for some in (reward, other))
    found = at_equal_recall(np.array(reward), recall, np.array(other), other_recall)
    both = np.isfinite(found.interpolated)
    assert (found.interpolated[both] <= found.grid[both] + 1e-12).all()
    assert (found.grid[found.dominated] < 0).all()


@given(values, values, st.integers(0, 1000))
def test_a_further_point_of_the_other_only_takes_away(
    reward: list[float], other: list[float], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    recall, other_recall = (generator.normal(size=len(some)) for some in (reward, other))
    args = np.array(reward), recall
    more = at_equal_recall(*args, np.array(other), other_recall)
    less = at_equal_recall(*args, np.array(other)[:-1], other_recall[:-1])
    both = np.isfinite(less.grid)
    assert (more.grid[both] <= less.grid[both]).all()
    assert (more.dominated >= less.dominated).all()


def test_best_within_a_budget() -> None:
    reward = np.array([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    recall = np.array([[-1.0, -3.0, -2.0], [-1.0, -3.0, -2.0]])
    best, place = best_within(reward, recall, np.array([-2.0, -0.5]))
    assert best[0] == pytest.approx(2.0)
    assert np.isnan(best[1])
    assert place.tolist() == [2, -1]
