"""Adaptive quadrature in the plane for a mixture tilted by the reward: pi(x) exp(R(x) / beta).

A square is divided until every cell is small against each feature that matters inside it: the
components' narrowest directions and the curvature of R / beta. Cells that can't hold a noticeable
part of the mass are dropped on the way. So each model's nodes follow from that model alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from recalltrap_studies.mog.models import LOG_2PI, Array, Model
from recalltrap_studies.mog.world import Oracle

NEGLIGIBLE = 30.0
"""A cell whose mass is surely below exp(-30) of the total is dropped."""

CELL = 4.0
"""A cell's side in units of the smallest length scale that matters inside it."""

ORDER = 6
"""Gauss-Legendre nodes a cell and axis."""

REACH = 9.0
"""Standard deviations around each component that the first square covers."""

MAX_DEPTH = 40


@dataclass(frozen=True)
class Nodes:
    """Quadrature nodes for the density proportional to pi(x) exp(R(x) / beta)."""

    points: Array  # [N, 2]
    reward: Array  # [N]
    log_mass: Array  # [N], the log of weight * pi * exp(R / beta)

    @property
    def log_partition(self) -> float:
        """log Z, Z = E_pi[exp(R / beta)]."""
        top = float(self.log_mass.max())
        return top + math.log(float(np.exp(self.log_mass - top).sum()))

    @property
    def probability(self) -> Array:
        """Normalised masses [N]."""
        mass = np.exp(self.log_mass - self.log_mass.max())
        return np.asarray(mass / mass.sum())


@dataclass(frozen=True)
class Tilt:
    """The log of the integrand and bounds on it over a cell."""

    model: Model
    oracle: Oracle
    kl_weight: float

    def component_bounds(self, centres_C2: Array, radius: float) -> Array:
        """Upper bounds [K, C] of each component's log weight + log density over a cell."""
        u_KC, v_KC = self.model.whitened(centres_C2)
        narrow_K, wide_K = self.model.smallest_scale, self.model.largest_scale
        difference = centres_C2 - self.model.means[:, None]
        near_KC = np.maximum(
            np.hypot(u_KC, v_KC) - radius / narrow_K[:, None],
            (np.hypot(difference[..., 0], difference[..., 1]) - radius) / wide_K[:, None],
        )
        scale_K = self.model.log_weights - LOG_2PI
        scale_K = scale_K - np.log(self.model.cholesky[:, [0, 2]]).sum(axis=1)
        return np.asarray(scale_K[:, None] - 0.5 * np.maximum(near_KC, 0.0) ** 2)

    def reward_bounds(self, centres_C2: Array, radius: float) -> tuple[Array, Array]:
        """Upper bounds [C] of R / beta and of its curvature over a cell."""
        difference = centres_C2[:, None] - self.oracle.targets
        distance_C = np.hypot(difference[..., 0], difference[..., 1]).min(axis=1)
        near_C = self.oracle.sharpness * np.maximum(distance_C - radius, 0.0) ** 2
        height = self.oracle.height / self.kl_weight
        # |d^2/dr^2 exp(-a r^2)| = 2a |2 a r^2 - 1| exp(-a r^2), at its second peak at a r^2 = 3/2
        beyond_C = np.maximum(near_C, 1.5)
        curvature_C = np.maximum(np.exp(-near_C), np.abs(2.0 * beyond_C - 1.0) * np.exp(-beyond_C))
        return height * np.exp(-near_C), 2.0 * self.oracle.sharpness * height * curvature_C

    def least_log_mass(self) -> float:
        """A lower bound, but for a few nats, of log Z: 0, or what surrounds a target."""
        scale = min(
            float(self.model.smallest_scale.min()),
            math.sqrt(self.kl_weight / (2.0 * self.oracle.sharpness * self.oracle.height)),
        )
        at_targets = self.model.log_prob(self.oracle.targets).max()
        gain = self.oracle.height / self.kl_weight + math.log(math.pi * (0.1 * scale) ** 2)
        return max(0.0, float(at_targets) + gain - 3.0)

    def first_square(self) -> tuple[Array, float]:
        """Centre [2] and half side of a square that holds all that matters."""
        spread = REACH * self.model.largest_scale[:, None]
        ratio = 1e4 * self.oracle.height / self.kl_weight
        reach = math.sqrt(max(math.log(ratio), 1.0) / self.oracle.sharpness)
        low = np.vstack([self.model.means - spread, self.oracle.targets - reach]).min(axis=0)
        high = np.vstack([self.model.means + spread, self.oracle.targets + reach]).max(axis=0)
        return (low + high) / 2.0, float((high - low).max()) / 2.0


@lru_cache(maxsize=512)
def gauss_legendre(order: int) -> tuple[Array, Array]:
    """Places and weights [order] on (-1, 1)."""
    return np.polynomial.legendre.leggauss(order)


def nodes(model: Model, oracle: Oracle, kl_weight: float, refine: int = 1) -> Nodes:
    """Nodes for `model` tilted by `oracle / kl_weight`; `refine` divides the cells' sides."""
    tilt = Tilt(model, oracle, kl_weight)
    threshold = tilt.least_log_mass() - NEGLIGIBLE
    middle, half = tilt.first_square()
    centres = middle[None]
    leaves: list[tuple[Array, float]] = []
    for _ in range(MAX_DEPTH):
        done, kept = _examine(tilt, centres, half, threshold, refine)
        leaves.append((centres[done], half))
        centres = centres[kept & ~done]
        if not len(centres):
            break
        half /= 2.0
        centres = (centres[:, None] + half * CORNERS).reshape(-1, 2)
    return _fill(tilt, leaves)


CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


def _examine(
    tilt: Tilt, centres: Array, half: float, threshold: float, refine: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which cells are fine enough, and which matter at all."""
    radius = half * math.sqrt(2.0)
    side = 2.0 * half * refine
    density_KC = tilt.component_bounds(centres, radius)
    reward_C, curvature_C = tilt.reward_bounds(centres, radius)
    mass_KC = density_KC + reward_C + math.log(4.0 * half * half)
    matters_KC = mass_KC > threshold
    kept_C = np.asarray(matters_KC.any(axis=0))
    coarse_KC = matters_KC & (side > CELL * tilt.model.smallest_scale[:, None])
    fine_C = ~coarse_KC.any(axis=0) & (side * np.sqrt(curvature_C) <= CELL)
    return kept_C & fine_C, kept_C


def _fill(tilt: Tilt, leaves: list[tuple[Array, float]]) -> Nodes:
    """Gauss-Legendre nodes in every leaf."""
    place, weight = gauss_legendre(ORDER)
    grid = np.stack(np.meshgrid(place, place, indexing="ij"), axis=-1).reshape(-1, 2)
    log_weight = np.log(np.outer(weight, weight).ravel())
    points = [(c[:, None] + half * grid).reshape(-1, 2) for c, half in leaves if len(c)]
    weights = [np.tile(log_weight + 2.0 * math.log(half), len(c)) for c, half in leaves if len(c)]
    points_N2 = np.concatenate(points)
    reward_N = tilt.oracle(points_N2)
    log_mass = np.concatenate(weights) + tilt.model.log_prob(points_N2)
    return Nodes(points_N2, reward_N, log_mass + reward_N / tilt.kl_weight)
