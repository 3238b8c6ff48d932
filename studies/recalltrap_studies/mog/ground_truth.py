"""The ground truth p*, the target p_target and the reward (arXiv 2509.23667, appendix A)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recalltrap_studies.mog.models import Array, Model, isotropic
from recalltrap_studies.mog.stage_settings import Evaluate, Ring, Spread


def mode_centres(ring: Ring) -> Array:
    """Centres [modes, 2], row by row from the top left.

    They are evenly spaced on the perimeter of a square of side 2 * spacing around the origin,
    beginning at its top left corner: 8 modes give the 3x3 grid without its centre.
    """
    position = np.arange(ring.modes) * (8.0 / ring.modes)  # eight half sides around the square
    side, along = np.divmod(position, 2.0)
    along -= 1.0
    one = np.ones_like(along)
    x = np.choose(side.astype(int), [along, one, -along, -one])
    y = np.choose(side.astype(int), [one, -along, -one, along])
    order = np.lexsort((np.round(x, 9), -np.round(y, 9)))
    return ring.spacing * np.stack([x, y], axis=1)[order] + 0.0  # no negative zeros


def p_star(ring: Ring, spread: Spread) -> Model:
    """The ground truth: the uniform mixture of all modes."""
    return isotropic(mode_centres(ring), spread.variance)


def p_target(settings: Evaluate) -> Model:
    """The target: the uniform mixture of the target modes (ours where there are several)."""
    return isotropic(mode_centres(settings)[list(settings.targets)], settings.variance)


@dataclass(frozen=True)
class RewardFunction:
    """The reward of eq. 8: R(x) = height * exp(-sharpness * |x - c|^2), c the nearest target."""

    targets: Array  # [T, 2]
    height: float
    sharpness: float

    def __call__(self, points_N2: Array) -> Array:
        """Rewards [N] at points [N, 2]."""
        difference_NT2 = points_N2[:, None] - self.targets
        nearest_N = (difference_NT2**2).sum(axis=2).min(axis=1)
        return np.asarray(self.height * np.exp(-self.sharpness * nearest_N))


def reward_function(settings: Evaluate) -> RewardFunction:
    """The reward function of a cell."""
    targets = mode_centres(settings)[list(settings.targets)]
    return RewardFunction(targets, settings.reward_height, settings.reward_sharpness)
