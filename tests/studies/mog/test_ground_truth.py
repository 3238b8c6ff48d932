"""Geometry, ground truth and reward."""

from __future__ import annotations

import numpy as np
import pytest

from recalltrap_studies.mog.ground_truth import mode_centres, p_star, p_target, reward_function
from recalltrap_studies.mog.settings import MogSettings
from recalltrap_studies.mog.stage_settings import Ring


def test_eight_modes_are_the_grid_without_its_centre() -> None:
    grid = [(x, y) for y in (1, 0, -1) for x in (-1, 0, 1) if (x, y) != (0, 0)]
    np.testing.assert_allclose(mode_centres(Ring(spacing=1.5)), 1.5 * np.array(grid), atol=1e-12)


def test_mode_seven_is_bottom_right_and_six_its_left_neighbour() -> None:
    centres = mode_centres(Ring())
    np.testing.assert_array_equal(centres[7], [1.0, -1.0])
    np.testing.assert_array_equal(centres[6], [0.0, -1.0])


@pytest.mark.parametrize("modes", [1, 3, 4, 5, 12, 16])
def test_any_number_of_modes_lies_on_the_square(modes: int) -> None:
    centres = mode_centres(Ring(modes=modes, spacing=2.0))
    assert len(np.unique(centres.round(6), axis=0)) == modes
    np.testing.assert_allclose(np.abs(centres).max(axis=1), 2.0)


def test_reward_is_eq_8_and_the_best_target_counts() -> None:
    one, two = reward_function(MogSettings()), reward_function(MogSettings(targets=(7, 6)))
    points = np.array([[1.0, -1.0], [0.0, -1.0], [0.5, 0.5]])
    np.testing.assert_allclose(one(points)[0], 10.0)
    np.testing.assert_allclose(one(points)[1], 10.0 * np.exp(-2.0))
    np.testing.assert_allclose(two(points), [10.0, 10.0, 10.0 * np.exp(-2.0 * 2.5)])


def test_p_target_is_the_uniform_mixture_of_the_targets() -> None:
    settings = MogSettings(targets=(7, 6))
    target, truth = p_target(settings), p_star(settings, settings)
    assert len(target.logits) == 2
    point = truth.means[[7]]
    expected = np.log(0.5 / (2 * np.pi * 0.05) * (1 + np.exp(-0.5 / 0.05)))
    np.testing.assert_allclose(target.log_prob(point), expected)
