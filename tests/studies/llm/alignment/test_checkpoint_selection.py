"""The paper's rules for choosing a checkpoint, and the corners of the curves they read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap_studies.llm.alignment.checkpoint_selection import (
    Curve,
    choosable,
    fall_onset,
    select,
    smooth,
)
from recalltrap_studies.llm.alignment.registry import Selector

STEPS = np.arange(101)
RISING: Curve = np.linspace(5.0, 9.0, 101)
STEADY: Curve = np.full(101, 1.0)


def curves(**named: npt.ArrayLike) -> dict[str, npt.ArrayLike]:
    return {"step": STEPS, "reward": RISING, "reward_sd": STEADY, **named}


def test_last_is_the_last_candidate() -> None:
    assert select(curves(), "reward", "last") == 100
    assert select(curves(), "reward", "last", [10, 70, 40]) == 70


def test_without_a_fall_the_highest_reward_wins() -> None:
    falling_late = np.where(STEPS < 60, RISING, RISING[60] - 0.05 * (STEPS - 60))
    assert select(curves(reward=falling_late), "reward", "paper") == pytest.approx(60, abs=2)


def test_a_collapse_is_left_out_though_its_reward_is_the_highest() -> None:
    deviation = np.where(STEPS <= 50, 1.0 + 0.01 * STEPS, 0.1)
    chosen = select(curves(reward_sd=deviation), "reward", "paper", list(range(10, 101, 10)))
    assert chosen in (40, 50)
    assert select(curves(reward_sd=deviation), "reward", "paper") <= 52


def test_a_slow_decline_is_no_collapse() -> None:
    deviation = np.linspace(2.0, 0.9, 101)
    assert select(curves(reward_sd=deviation), "reward", "paper") == 100


def test_a_collapse_before_every_candidate_leaves_the_first() -> None:
    deviation = np.where(STEPS < 5, 1.0, 0.1)
    assert select(curves(reward_sd=deviation), "reward", "paper", [20, 40]) == 20


def test_dpo_takes_the_largest_margin() -> None:
    margin = -((STEPS - 37.0) ** 2)
    only: dict[str, npt.ArrayLike] = {"step": STEPS, "reward_margin": margin}
    assert select(only, "reward_margin", "paper") == 37
    assert select(only, "reward_margin", "paper", [10, 30, 50]) == 30


def test_noise_of_single_rollouts_is_smoothed() -> None:
    margin = 1.0 - 0.0002 * (STEPS - 60.0) ** 2
    margin[20] += 0.7  # one lucky rollout
    assert 50 <= select({"step": STEPS, "reward_margin": margin}, "reward_margin", "paper") <= 70


def test_missing_values_do_not_count() -> None:
    margin = np.where(STEPS < 80, 0.01 * STEPS, np.nan)
    assert select({"step": STEPS, "reward_margin": margin}, "reward_margin", "paper") <= 82
    deviation = np.where(STEPS % 7 == 0, np.nan, 1.0)
    assert select(curves(reward_sd=deviation), "reward", "paper") == 100


def test_equal_scores_give_the_earliest() -> None:
    flat = {"step": STEPS, "reward_margin": np.zeros(101)}
    assert select(flat, "reward_margin", "paper", [30, 20, 90]) == 20


@pytest.mark.parametrize("how", ["last", "paper"])
def test_a_run_of_one_rollout_has_one_candidate(how: str) -> None:
    short: dict[str, npt.ArrayLike] = {
        "step": [0, 1],
        "reward": [5.0, 6.0],
        "reward_sd": [1.0, 0.1],
    }
    assert select(short, "reward", how) == 1


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(ValueError, match="no candidates"):
        select({"step": [0], "reward": [5.0], "reward_sd": [1.0]}, "reward", "paper")
    nothing = {"step": STEPS, "reward_margin": np.full(101, np.nan)}
    with pytest.raises(ValueError, match="no candidate has a finite reward_margin"):
        select(nothing, "reward_margin", "paper")


def test_the_fall_begins_where_the_deviation_was_last_near_its_peak() -> None:
    deviation = np.concatenate([np.linspace(1, 2, 50), np.linspace(2, 0.2, 10), np.full(40, 0.2)])
    assert fall_onset(deviation) == pytest.approx(50, abs=1)
    assert fall_onset(np.full(30, 0.0)) == 29


def test_smoothing_keeps_constants_lines_and_short_curves() -> None:
    np.testing.assert_allclose(smooth(STEADY), STEADY)
    np.testing.assert_allclose(smooth(RISING)[5:-5], RISING[5:-5])
    np.testing.assert_array_equal(smooth(np.array([1.0, 5.0])), [1.0, 5.0])
    assert np.isnan(smooth(np.full(3, np.nan))).all()


def walk(random: np.random.Generator, points: int) -> dict[str, npt.ArrayLike]:
    """A run's curves: a wandering reward and deviation, which may collapse, with holes."""
    reward = random.normal(size=points).cumsum()
    deviation = np.exp(0.2 * random.normal(size=points).cumsum())
    if random.random() < 0.5:
        deviation[random.integers(points) :] *= random.uniform(0.05, 0.6)
    reward[random.random(points) < 0.05] = np.nan
    steps = np.arange(points)
    return {"step": steps, "reward": reward, "reward_sd": deviation, "reward_margin": reward}


@pytest.mark.slow
@pytest.mark.parametrize("by", ["reward", "reward_margin"])
@given(
    seed=st.integers(0, 10_000),
    points=st.integers(12, 160),
    interval=st.integers(1, 9),
    lag=st.integers(0, 30),
)
def test_what_may_still_be_chosen_is_kept_whatever_comes(
    by: Selector, seed: int, points: int, interval: int, lag: int
) -> None:
    """Removing the others as a run goes on, by points that are `lag` old, changes no choice."""
    found = walk(np.random.default_rng(seed), points)
    last = points - 1
    everyone = list(range(interval, last, interval))
    alive: list[int] = []
    for known in range(1, points):
        if known in everyone:
            alive.append(known)
            so_far = {
                name: np.asarray(curve)[: max(known - lag, 0)] for name, curve in found.items()
            }
            alive = choosable(so_far, by, points, alive)
    assert select(found, by, "paper", [*alive, last]) == select(
        found, by, "paper", [*everyone, last]
    )


@pytest.mark.slow
def test_few_of_a_long_run_s_candidates_are_kept() -> None:
    """Of the paper's: 1,000 rollouts, a candidate each 50; those that checkpoints make sure of."""
    most, random = 0, np.random.default_rng(0)
    for _ in range(4):
        reward = 5 + 0.004 * np.arange(1001) + random.normal(size=1001)
        so_far: dict[str, npt.ArrayLike] = {"reward": reward, "reward_sd": np.ones(1001)}
        alive: list[int] = []
        for known in range(50, 1001, 50):
            points = {name: np.asarray(curve)[:known] for name, curve in so_far.items()}
            alive = choosable(points, "reward", 1001, [*alive, known])
            most = max(most, len(alive))
    assert most <= 7
