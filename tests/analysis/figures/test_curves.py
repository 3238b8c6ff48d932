from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recalltrap_analysis import figures
from recalltrap_analysis.estimates.trajectories import SELECTION, courses
from recalltrap_analysis.mixture.densities import draw_samples, reward_shares


def test_selection_curves_of_ppo_and_of_dpo() -> None:
    rows = [
        {"ordering": ordering, "seed": seed, "stage": stage, "step": step, "metric": metric,
         "value": step * (1 + seed) + (100 if stage == "align-2" else 0)}
        for ordering in ("K-A", "A-K") for seed in (0, 1, 2) for stage in ("align", "align-2")
        for step in (10, 20, 30)
        for metric in ("reward", "reward_sd", "rewards/chosen", "rewards/margins", "loss")
    ]  # fmt: skip
    found = courses(pd.DataFrame(rows), ["K-A", "A-K"])
    assert {metric for metric, _ in found} == {
        "reward", "reward_sd", "chosen_reward", "reward_margin",
    }  # fmt: skip
    course = found["chosen_reward", "A-K"]
    assert course.step_T.tolist() == [10, 20, 30]
    assert course.mean_T.tolist() == [20, 40, 60]
    assert (course.low_T.tolist(), course.high_T.tolist()) == ([10, 20, 30], [30, 60, 90])
    figure = figures.selection_curves(found, SELECTION)
    drawn = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in drawn] == [
        SELECTION[m] for m in SELECTION if (m, "K-A") in found
    ]
    assert all(len(axes.lines) == 2 for axes in drawn)
    assert courses(pd.DataFrame(), ["K-A"]) == {}


def test_a_curve_stops_where_a_seed_does() -> None:
    rows = [
        {"ordering": "K-A", "seed": seed, "stage": "align", "step": step, "metric": "reward",
         "value": 1.0}
        for seed, last in ((0, 30), (1, 20)) for step in range(10, last + 1, 10)
    ]  # fmt: skip
    [course] = courses(pd.DataFrame(rows), ["K-A"]).values()
    assert course.step_T.tolist() == [10, 20]


def test_scaling_curve_draws_points_and_band() -> None:
    x = np.array([0.5, 1.0, 2.0])
    points = (x, x / 4, x / 4 - 0.1, x / 4 + 0.1)
    curve = (x, x / 4, x / 4 - 0.05, x / 4 + 0.05)
    axes = figures.scaling_curve(points, ["a", "a", "b"], curve, "deficit").axes[0]
    drawn = {line.get_label(): np.asarray(line.get_xdata()).tolist() for line in axes.lines}
    assert drawn["a"] == [0.5, 1.0]
    assert drawn["b"] == [2.0]
    assert drawn["fitted"] == x.tolist()
    assert axes.get_xlabel() == "deficit"
    bare = figures.scaling_curve(points, [""] * 3, None, "deficit").axes[0]
    assert "fitted" not in [line.get_label() for line in bare.lines]


def test_rewards_of_samples_are_those_of_the_mixture() -> None:
    narrow = figures.Mixture(
        "narrow", np.array([0.25, 0.75]), np.array([[1.0, -1.0], [-9.0, 9.0]]),
        np.array([[1e-3, 0.0, 1e-3], [1e-3, 0.0, 1e-3]]),
    )  # fmt: skip
    generator = np.random.default_rng(0)
    [shares] = reward_shares([narrow], np.array([[1.0, -1.0], [5.0, 5.0]]), 2.0, generator)
    assert shares.sum() == pytest.approx(1)
    assert shares[-1] == pytest.approx(0.25, abs=0.03)
    assert shares[0] == pytest.approx(0.75, abs=0.03)
    wide = figures.Mixture("wide", np.ones(1), np.zeros((1, 2)), np.array([[0.4, 0.3, 0.2]]))
    points = draw_samples(wide, 40000, generator)
    lower = np.array([[0.4, 0.0], [0.3, 0.2]])
    np.testing.assert_allclose(np.cov(points.T), lower @ lower.T, atol=0.005)
    tints = {"p'": "#0072B2", "p''": "#D55E00"}
    means = dict.fromkeys(tints, shares)
    figure = figures.reward_densities(means, dict.fromkeys(tints, shares[None, :]), tints)
    assert len(figure.axes) == 2
