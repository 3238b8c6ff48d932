"""What a reference alone decides: the exact optimum, the hit rate, the penalty at the target.

The sampling trap and the learning trap of arXiv 2509.23667 (section 3.4) as numbers, by quadrature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recalltrap_studies.mog import quadrature
from recalltrap_studies.mog.models import Array, Model
from recalltrap_studies.mog.world import Oracle

HIT = 0.9
"""A sample hits the target where its reward is at least this share of the supremum."""


@dataclass(frozen=True)
class Optimum:
    """The policy that maximises eq. 1, pi*(x) proportional to pi_ref(x) exp(R(x) / beta)."""

    reward: float
    target_precision: float  # E[log p_target], nats
    log_partition: float
    points: int


def optimum(
    reference: Model, oracle: Oracle, target: Model, kl_weight: float, refine: int = 1
) -> Optimum:
    """Expectations under the exact optimum anchored to `reference`.

    Halving the quadrature's step (`refine=2`) moves the reward by less than 1e-3.
    """
    nodes = quadrature.nodes(reference, oracle, kl_weight, refine)
    share = nodes.probability
    return Optimum(
        reward=_sum(share, nodes.reward),
        target_precision=_sum(share, target.log_prob(nodes.points)),
        log_partition=nodes.log_partition,
        points=len(share),
    )


def _sum(weights: Array, values: Array) -> float:
    """Not a BLAS product, whose rounding (and start-up) depends on the number of threads."""
    return float((weights * values).sum())


def hit_rate(model: Model, oracle: Oracle) -> tuple[float, int]:
    """P(R >= 0.9 R_max) by polar quadrature over the discs around the targets, and its points.

    Where discs overlap, each target keeps the points that are nearest to it.
    """
    radius = math.sqrt(-math.log(HIT) / oracle.sharpness)
    detail = radius / float(model.smallest_scale.min())
    rings = int(np.clip(math.ceil(6 * detail), 16, 300))
    rays = int(np.clip(math.ceil(16 * detail), 48, 900))
    angle = (np.arange(rays) + 0.5) * (2.0 * math.pi / rays)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    place, weight = quadrature.gauss_legendre(rings)
    total = 0.0
    for index, centre in enumerate(oracle.targets):
        others = np.delete(oracle.targets, index, axis=0) - centre
        reach = _reach(direction, others, radius)
        r = reach[:, None] * (place + 1.0) / 2.0
        points = centre + r[..., None] * direction[:, None]
        mass = np.exp(model.log_prob(points.reshape(-1, 2))).reshape(r.shape) * r
        total += _sum(mass * weight, reach[:, None]) * math.pi / rays
    return total, len(oracle.targets) * rings * rays


def _reach(direction: Array, others: Array, radius: float) -> Array:
    """How far each ray goes: to the disc's edge, or to the bisector with another target."""
    reach = np.full(len(direction), radius)
    for other in others:
        along = (direction * other).sum(axis=1)
        with np.errstate(divide="ignore"):
            bisector = np.where(along > 0, (other**2).sum() / 2.0 / along, np.inf)
        reach = np.minimum(reach, bisector)
    return reach


STEP, REACH = 0.2, 6.4
"""Trapezoidal rule in standard deviations: exact to rounding for smooth integrands."""


def kl_from_target(model: Model, target: Model) -> tuple[float, int]:
    """KL(p_target || model), the forward KL, in nats, and the number of points."""
    z = np.arange(-REACH, REACH + STEP / 2, STEP)
    grid = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = np.exp(-0.5 * (grid**2).sum(axis=1))
    weight /= weight.sum()
    total = 0.0
    shares = np.exp(target.log_weights)
    for share, centre, factor in zip(shares, target.means, target.cholesky, strict=True):
        points = centre + grid * factor[[0, 2]]
        total += share * _sum(weight, target.log_prob(points) - model.log_prob(points))
    return float(total), len(shares) * len(grid)
