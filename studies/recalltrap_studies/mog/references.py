"""What a reference alone decides: the exact optimum, the hit rate, the penalty at the target.

The sampling trap and the learning trap of arXiv 2509.23667 (section 3.4) as numbers, by quadrature.
"""

from __future__ import annotations

from typing import NamedTuple

from recalltrap_studies.mog.exact import expectations, quadrature, rewards
from recalltrap_studies.mog.exact.values import TOLERANCE, Expectation
from recalltrap_studies.mog.ground_truth import RewardFunction
from recalltrap_studies.mog.models import Model

HIT = 0.9
"""A sample hits the target where its reward is at least this share of the supremum."""


class Optimum(NamedTuple):
    """The policy that maximises eq. 1, pi*(x) proportional to pi_ref(x) exp(R(x) / beta)."""

    reward: Expectation
    target_precision: Expectation  # E[log p_target], nats
    log_partition: float


def optimum(reference: Model, reward: RewardFunction, target: Model, kl_weight: float) -> Optimum:
    """Expectations under the exact optimum anchored to `reference`."""
    tilt = quadrature.Tilt(reference, reward, kl_weight)
    moments = quadrature.moments(tilt, (reward, target.log_prob), TOLERANCE / 5.0)
    mean_reward, target_precision = (
        Expectation(float(value), float(error), moments.nodes)
        for value, error in zip(moments.means, moments.errors, strict=True)
    )
    return Optimum(mean_reward, target_precision, moments.log_partition)


def hit_rate(model: Model, reward: RewardFunction) -> Expectation:
    """P(R >= 0.9 R_max)."""
    return rewards.hit_rate(model, reward, HIT)


def kl_from_target(model: Model, target: Model) -> Expectation:
    """KL(p_target || model), the forward KL, in nats."""
    own, other = (expectations.log_density(target, m) for m in (target, model))
    return Expectation(own.value - other.value, own.error + other.error, own.nodes + other.nodes)
