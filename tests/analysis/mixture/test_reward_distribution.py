"""How rewards of a stored mixture's samples distribute."""

from __future__ import annotations

import numpy as np
import pytest

from recalltrap_analysis.figures.contours import Mixture
from recalltrap_analysis.figures.reward_distribution import reward_distribution
from recalltrap_analysis.mixture.reward_distribution import draw_samples, reward_shares


def test_rewards_of_samples_are_those_of_the_mixture() -> None:
    narrow = Mixture(
        "narrow", np.array([0.25, 0.75]), np.array([[1.0, -1.0], [-9.0, 9.0]]),
        np.array([[1e-3, 0.0, 1e-3], [1e-3, 0.0, 1e-3]]),
    )  # fmt: skip
    generator = np.random.default_rng(0)
    [shares] = reward_shares([narrow], np.array([[1.0, -1.0], [5.0, 5.0]]), 2.0, generator)
    assert shares.sum() == pytest.approx(1)
    assert shares[-1] == pytest.approx(0.25, abs=0.03)
    assert shares[0] == pytest.approx(0.75, abs=0.03)
    wide = Mixture("wide", np.ones(1), np.zeros((1, 2)), np.array([[0.4, 0.3, 0.2]]))
    points = draw_samples(wide, 40000, generator)
    lower = np.array([[0.4, 0.0], [0.3, 0.2]])
    np.testing.assert_allclose(np.cov(points.T), lower @ lower.T, atol=0.005)
    tints = {"p'": "#0072B2", "p''": "#D55E00"}
    means = dict.fromkeys(tints, shares)
    figure = reward_distribution(means, dict.fromkeys(tints, shares[None, :]), tints)
    assert len(figure.axes) == 2
