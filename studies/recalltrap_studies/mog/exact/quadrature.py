"""Adaptive quadrature in the plane for a mixture tilted by the reward: pi(x) exp(R(x) / beta).

A square is divided until every cell is small against each feature that matters inside it: the
components' narrowest directions and the curvature of R / beta. Cells that can't hold a noticeable
part of the mass are dropped on the way. Then those in which two orders differ are divided further,
which finds the ridge of a reward with several targets. Each model's nodes follow from that model
alone. Legend: C cells, K components, N nodes, T targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recalltrap_studies.mog.ground_truth import RewardFunction
from recalltrap_studies.mog.models import LOG_2PI, Array, Model

NEGLIGIBLE = 30.0
"""A cell whose mass is surely below exp(-30) of the total is dropped."""

CELL = 8.0
"""A cell's side in units of the smallest length scale that matters inside it."""

ORDERS = (7, 10)
"""Gauss-Legendre nodes a cell and axis; the second order is the value, the first its check."""

REACH = 9.0
"""Standard deviations around each component that the first square covers."""

MAX_DEPTH = 40
MAX_ROUNDS, MAX_CELLS = 12, 60_000
"""Times cells are divided because two orders differ, and cells at once, at most."""


class Cells(NamedTuple):
    """Squares: centres [C, 2] and half sides [C]."""

    centres: Array
    half: Array

    def divided(self) -> Cells:
        """Each in four."""
        half = self.half / 2.0
        centres = self.centres[:, None] + half[:, None, None] * CORNERS
        return Cells(centres.reshape(-1, 2), np.repeat(half, 4))


class Moments(NamedTuple):
    """What is known of the density proportional to pi(x) exp(R(x) / beta)."""

    log_partition: float  # log Z, Z = E_pi[exp(R / beta)]
    means: Array  # of the functions asked for
    errors: Array  # by how much two orders differ in them
    nodes: int


Function = Callable[[Array], Array]
"""Points [N, 2] -> values [N]."""


@dataclass(frozen=True)
class Tilt:
    """The log of the integrand and bounds on it over a cell."""

    model: Model
    reward: RewardFunction
    kl_weight: float

    def log_mass(self, points_N2: Array) -> Array:
        """log pi + R / beta, [N]."""
        return self.model.log_prob(points_N2) + self.reward(points_N2) / self.kl_weight

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
        difference = centres_C2[:, None] - self.reward.targets
        distance_C = np.hypot(difference[..., 0], difference[..., 1]).min(axis=1)
        near_C = self.reward.sharpness * np.maximum(distance_C - radius, 0.0) ** 2
        height = self.reward.height / self.kl_weight
        # |d^2/dr^2 exp(-a r^2)| = 2a |2 a r^2 - 1| exp(-a r^2), at its second peak at a r^2 = 3/2
        beyond_C = np.maximum(near_C, 1.5)
        curvature_C = np.maximum(np.exp(-near_C), np.abs(2.0 * beyond_C - 1.0) * np.exp(-beyond_C))
        return height * np.exp(-near_C), 2.0 * self.reward.sharpness * height * curvature_C

    def least_log_mass(self) -> float:
        """A lower bound, but for a few nats, of log Z: 0, or what surrounds a target."""
        scale = min(
            float(self.model.smallest_scale.min()),
            math.sqrt(self.kl_weight / (2.0 * self.reward.sharpness * self.reward.height)),
        )
        at_targets = self.model.log_prob(self.reward.targets).max()
        gain = self.reward.height / self.kl_weight + math.log(math.pi * (0.1 * scale) ** 2)
        return max(0.0, float(at_targets) + gain - 3.0)

    def first_square(self) -> tuple[Array, float]:
        """Centre [2] and half side of a square that holds all that matters."""
        spread = REACH * self.model.largest_scale[:, None]
        ratio = 1e4 * self.reward.height / self.kl_weight
        reach = math.sqrt(max(math.log(ratio), 1.0) / self.reward.sharpness)
        low = np.vstack([self.model.means - spread, self.reward.targets - reach]).min(axis=0)
        high = np.vstack([self.model.means + spread, self.reward.targets + reach]).max(axis=0)
        return (low + high) / 2.0, float((high - low).max()) / 2.0


@lru_cache(maxsize=512)
def gauss_legendre(order: int) -> tuple[Array, Array]:
    """Places and weights [order] on (-1, 1)."""
    return np.polynomial.legendre.leggauss(order)


def cells(tilt: Tilt) -> Cells:
    """Cells that are small against all that is known to matter inside them."""
    threshold = tilt.least_log_mass() - NEGLIGIBLE
    middle, half = tilt.first_square()
    todo = Cells(middle[None], np.array([half]))
    leaves = []
    for _ in range(MAX_DEPTH):
        done, kept = _examine(tilt, todo, threshold)
        leaves.append(Cells(*(part[done] for part in todo)))
        todo = Cells(*(part[kept & ~done] for part in todo)).divided()
        if not len(todo.half):
            break
    return Cells(*(np.concatenate(parts) for parts in zip(*leaves, strict=True)))


CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


def _examine(
    tilt: Tilt, level: Cells, threshold: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which cells are fine enough, and which matter at all."""
    centres, half = level.centres, float(level.half[0])  # all of one size
    radius = half * math.sqrt(2.0)
    side = 2.0 * half
    density_KC = tilt.component_bounds(centres, radius)
    reward_C, curvature_C = tilt.reward_bounds(centres, radius)
    mass_KC = density_KC + reward_C + math.log(4.0 * half * half)
    matters_KC = mass_KC > threshold
    kept_C = np.asarray(matters_KC.any(axis=0))
    coarse_KC = matters_KC & (side > CELL * tilt.model.smallest_scale[:, None])
    fine_C = ~coarse_KC.any(axis=0) & (side * np.sqrt(curvature_C) <= CELL)
    return kept_C & fine_C, kept_C


def moments(tilt: Tilt, functions: Sequence[Function], tolerance: float) -> Moments:
    """Means of `functions` under the tilted density.

    Cells are divided until the differences of two orders sum to `tolerance`, or there are too many;
    what is left is the error.
    """
    todo = cells(tilt)
    top = float(tilt.log_mass(todo.centres).max())
    sums = np.zeros(1 + len(functions))
    left = np.zeros(len(functions))
    nodes = 0
    for turn in range(MAX_ROUNDS):
        # the integral of the mass and of every function, by two orders
        fine, coarse = (_sums(tilt, functions, todo, top, order) for order in ORDERS)
        nodes += len(todo.half) * sum(order**2 for order in ORDERS)
        total = sums + fine.sum(axis=0)
        means = total[1:] / total[0]
        # how much each cell's two orders change a mean: a quotient, to first order
        gap = fine - coarse
        error_CF = np.abs(gap[:, 1:] - gap[:, :1] * means) / total[0]
        limit_F = np.maximum(tolerance, 1e-12 * np.abs(means))  # rounding of large values
        done = (error_CF <= limit_F / (2.0 * len(error_CF))).all(axis=1)
        ended = turn == MAX_ROUNDS - 1 or 4 * int((~done).sum()) > MAX_CELLS
        if ended or (left + error_CF.sum(axis=0) <= limit_F).all():
            done[:] = True
        sums += fine[done].sum(axis=0)
        left += error_CF[done].sum(axis=0)
        if done.all():
            break
        todo = Cells(*(part[~done] for part in todo)).divided()
    return Moments(top + math.log(sums[0]), sums[1:] / sums[0], left, nodes)


CHUNK = 256
"""Cells whose nodes are evaluated at once: what they need fits a core's cache."""


def _sums(tilt: Tilt, functions: Sequence[Function], some: Cells, top: float, order: int) -> Array:
    """Integrals of exp(log mass - top) times 1 and each function over every cell, [C, 1 + F]."""
    place, weight = gauss_legendre(order)
    grid = np.stack(np.meshgrid(place, place, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = np.outer(weight, weight).ravel()
    sums = np.empty((len(some.half), 1 + len(functions)))
    for begin in range(0, len(sums), CHUNK):
        centres, half = (part[begin : begin + CHUNK] for part in some)
        points = (centres[:, None] + half[:, None, None] * grid).reshape(-1, 2)
        mass_CN = np.exp(tilt.log_mass(points) - top).reshape(len(half), -1)
        mass_CN *= weights * half[:, None] ** 2
        rows = sums[begin : begin + CHUNK]
        rows[:, 0] = mass_CN.sum(axis=1)
        for column, function in enumerate(functions, 1):
            rows[:, column] = (mass_CN * function(points).reshape(mass_CN.shape)).sum(axis=1)
    return sums
