"""What a reference alone decides, from its samples: the optimum of eq. 1 by importance weights.

Self-normalised importance sampling from the reference itself: the policy that maximises
E[R] − β KL(π ‖ π_ref) is π*(y) ∝ π_ref(y) exp(R(y) / β), so samples of π_ref weigh exp(R / β).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recalltrap.errors import StageError

Array = npt.NDArray[np.float64]

HIT = 0.9
"""A response hits the target where its reward is at least this share of the supremum."""


@dataclass(frozen=True)
class MeanWithError:
    """A mean and its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class WeightedOptimum:
    """The tilted sample of a reference: normalised weights [N] over its responses."""

    weight_N: Array

    @property
    def effective_samples(self) -> float:
        """(Σ w)² / Σ w²: how many equally weighted responses would say as much."""
        return float(1.0 / (self.weight_N**2).sum())

    def mean(self, values_N: Array) -> MeanWithError:
        """E_{π*}[f], with the standard error of the delta method, (Σ w²(f − μ)²)^½."""
        value = float((self.weight_N * values_N).sum())
        spread = self.weight_N * (values_N - value)
        return MeanWithError(value, math.sqrt(float((spread**2).sum())))


def optimum(reward_N: Array, kl_weight: float) -> WeightedOptimum:
    """Weights ∝ exp(R / β) of samples of the reference.

    Raises:
        StageError: of the class `nan`, where a reward isn't finite.
    """
    if not np.isfinite(reward_N).all():
        raise StageError("nan", "a reward is not finite, so there is no optimum to weigh")
    log_N = reward_N / kl_weight
    weight_N = np.exp(log_N - log_N.max())
    return WeightedOptimum(weight_N / weight_N.sum())


def hit_rate(reward_N: Array, supremum: float) -> MeanWithError:
    """P(R ≥ 0.9 R_max) under the samples' model.

    The standard error is the binomial's at (k + 1) / (N + 2), so that it isn't 0 without a hit.
    """
    hits, count = int((reward_N >= HIT * supremum).sum()), len(reward_N)
    likely = (hits + 1) / (count + 2)
    return MeanWithError(hits / count, math.sqrt(likely * (1.0 - likely) / count))


def mean(values_N: Array) -> MeanWithError:
    """A sample's mean and its standard error."""
    spread = float(values_N.std(ddof=1)) if len(values_N) > 1 else 0.0
    return MeanWithError(float(values_N.mean()), spread / math.sqrt(len(values_N)))
