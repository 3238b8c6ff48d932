"""What a reference alone decides, from its samples: the optimum of eq. 1 by importance weights.

Self-normalised importance sampling from the reference itself: the policy that maximises
E[R] − β KL(π ‖ π_ref) is π*(y) ∝ π_ref(y) exp(R(y) / β), so samples of π_ref weigh exp(R / β).
Where there are several prompts, that is so for each of them, and means are over prompts by weight.
Legend: N responses, K prompts.
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
class Strata:
    """Which of K prompts each response is to, and how much each prompt counts, 1 in all.

    The prompts are given, not drawn: errors are those of the responses alone.
    """

    index_N: npt.NDArray[np.int64]
    weight_K: Array

    @property
    def share_N(self) -> Array:
        """What each response counts in a mean: its prompt's weight, shared by its responses."""
        return np.asarray((self.weight_K / self._counts)[self.index_N])

    @property
    def _counts(self) -> npt.NDArray[np.int64]:
        return np.bincount(self.index_N, minlength=len(self.weight_K))

    def sums(self, values_N: Array) -> Array:
        """Of each prompt's responses, [K]."""
        return np.bincount(self.index_N, values_N, minlength=len(self.weight_K)).astype(float)

    def mean(self, values_N: Array) -> MeanWithError:
        """The weighted mean of the prompts' means; each needs two responses for the error."""
        mean_K = self.sums(values_N) / self._counts
        variance_K = self.sums((values_N - mean_K[self.index_N]) ** 2) / (self._counts - 1)
        error = math.sqrt(float((self.weight_K**2 * variance_K / self._counts).sum()))
        return MeanWithError(float((self.weight_K * mean_K).sum()), error)


@dataclass(frozen=True)
class WeightedOptimum:
    """The tilted sample of a reference: normalised weights [N] over its responses."""

    weight_N: Array
    strata: Strata | None = None

    @property
    def effective_samples(self) -> float:
        """(Σ w)² / Σ w²: how many equally weighted responses would say as much."""
        return float(1.0 / (self.weight_N**2).sum())

    def mean(self, values_N: Array) -> MeanWithError:
        """E_{π*}[f], with the standard error of the delta method, (Σ w²(f − μ)²)^½."""
        value = float((self.weight_N * values_N).sum())
        centre: float | Array = value
        if self.strata is not None:  # of each prompt's own optimum
            mean_K = self.strata.sums(self.weight_N * values_N) / self.strata.weight_K
            centre = mean_K[self.strata.index_N]
        spread = self.weight_N * (values_N - centre)
        return MeanWithError(value, math.sqrt(float((spread**2).sum())))


def optimum(reward_N: Array, kl_weight: float, strata: Strata | None = None) -> WeightedOptimum:
    """Weights ∝ exp(R / β) of samples of the reference, for each prompt.

    Raises:
        StageError: of the class `nan`, where a reward isn't finite.
    """
    if not np.isfinite(reward_N).all():
        raise StageError("nan", "a reward is not finite, so there is no optimum to weigh")
    log_N = reward_N / kl_weight
    if strata is None:
        weight_N = np.exp(log_N - log_N.max())
        return WeightedOptimum(weight_N / weight_N.sum())
    highest_K = np.full(len(strata.weight_K), -np.inf)
    np.maximum.at(highest_K, strata.index_N, log_N)
    weight_N = np.exp(log_N - highest_K[strata.index_N])
    share_K = strata.weight_K / strata.sums(weight_N)
    return WeightedOptimum(weight_N * share_K[strata.index_N], strata)


def hit_rate(reward_N: Array, supremum: float, strata: Strata | None = None) -> MeanWithError:
    """P(R ≥ 0.9 R_max) under the samples' model.

    The standard error is the binomial's at (k + 1) / (N + 2), so that it isn't 0 without a hit.
    """
    hit_N, count = reward_N >= HIT * supremum, len(reward_N)
    hits = int(hit_N.sum())
    likely = (hits + 1) / (count + 2)
    if strata is None:
        return MeanWithError(hits / count, math.sqrt(likely * (1.0 - likely) / count))
    spread = float((strata.share_N**2).sum())  # 1 / count where all count alike
    rate = float((strata.share_N * hit_N).sum())
    return MeanWithError(rate, math.sqrt(likely * (1.0 - likely) * spread))


def deviation(values_N: Array, strata: Strata | None = None) -> MeanWithError:
    """The standard deviation of single responses, prompts by their weights, with its error.

    Over all responses, so that what prompts differ in is part of it. The error is the delta
    method's, (Var of (x - mean)²)^½ / (2 sd √N), and 0 where nothing varies.
    """
    share_N = np.full(len(values_N), 1.0 / len(values_N)) if strata is None else strata.share_N
    centre = float((share_N * values_N).sum())
    square_N = (values_N - centre) ** 2
    variance = mean(square_N, strata)
    kept = 1.0 - float((share_N**2).sum())  # (N - 1) / N where all count alike
    found = math.sqrt(variance.value / kept) if kept > 0 else 0.0
    error = variance.standard_error / (2.0 * found) if found > 0 else 0.0
    return MeanWithError(found, error)


def mean(values_N: Array, strata: Strata | None = None) -> MeanWithError:
    """A sample's mean and its standard error; over the prompts, where it is to several."""
    if strata is not None:
        return strata.mean(values_N)
    spread = float(values_N.std(ddof=1)) if len(values_N) > 1 else 0.0
    return MeanWithError(float(values_N.mean()), spread / math.sqrt(len(values_N)))
