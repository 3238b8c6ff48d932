"""How far a mean over seeds, prompts and samples can be trusted: two-way, or by resampling.

Seeds and prompts are crossed random factors, samples are drawn within both. Where there is one seed
it is not a factor: what is said holds for its references. Shapes: S seeds, K prompts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from recalltrap_analysis.statistics.paired import Array, Estimate
from recalltrap_analysis.statistics.quantiles import normal_quantile, t_quantile

RESAMPLES = 1000


@dataclass(frozen=True)
class Spread:
    """A mean and its error: the variance that more samples shrink, and that of seeds and prompts.

    `freedom` is of Student's t. `draws_B`, where samples alone vary: the mean in resamples.
    """

    value: float
    of_samples: float
    of_factors: float
    freedom: float
    factors: str
    draws_B: Array | None = None

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.of_samples + self.of_factors)

    def bounds(self, alpha: float) -> tuple[float, float]:
        """The bounds that the true value lies above, and below, each at level 1 - alpha."""
        if self.draws_B is not None:
            low, high = np.quantile(self.draws_B, [alpha, 1.0 - alpha])
            # the quantiles of few resamples are noisy far out, and never narrower than this
            half = normal_quantile(1.0 - alpha) * self.error
            return min(float(low), self.value - half), max(float(high), self.value + half)
        half = t_quantile(1.0 - alpha, self.freedom) * self.error
        return self.value - half, self.value + half

    def estimate(self) -> Estimate:
        """With its 95 % interval."""
        low, high = self.bounds(0.025)
        return Estimate(self.value, low, high, self.factors, 1)

    def grown(self, samples: float, factors: float) -> Spread:
        """As it would be with so many times the samples of each, and the seeds or prompts."""
        return replace(
            self,
            of_samples=self.of_samples / (samples * factors),
            of_factors=self.of_factors / factors,
            freedom=(self.freedom + 1.0) * factors - 1.0,
            draws_B=None,
        )


def two_way(value_SK: Array, error_SK: Array, weight_K: Array) -> Spread:
    """The mean of seeds' and prompts' values, each with the error of its samples.

    The variance of crossed factors, V(seeds) + V(prompts) - V(both) (Cameron, Gelbach & Miller
    2011), and never less than that of one factor or of the samples alone.

    Args:
        value_SK: A value per seed and prompt.
        error_SK: Its standard error by samples alone.
        weight_K: What a prompt counts, 1 in all.
    """
    seeds, prompts = value_SK.shape
    within = float((weight_K**2 * error_SK**2).sum()) / seeds**2
    mean_S, mean_K = value_SK @ weight_K, value_SK.mean(axis=0)
    value = float(mean_S.mean())
    found, freedom, names = [within], [math.inf], []
    if seeds > 1:
        found.append(float(mean_S.var(ddof=1)) / seeds)
        freedom.append(seeds - 1)
        names.append("seeds")
    if prompts > 1:
        found.append(float((weight_K**2 * (mean_K - value) ** 2).sum()) * prompts / (prompts - 1))
        freedom.append(prompts - 1)
        names.append("held-out prompts")
    if seeds > 1 and prompts > 1:
        rest_SK = value_SK - mean_S[:, None] - mean_K[None, :] + value
        both = float((weight_K**2 * rest_SK**2).sum()) / seeds**2
        both *= seeds * prompts / ((seeds - 1) * (prompts - 1))
        found.append(found[1] + found[2] - both)
    total = max(found)
    return Spread(
        value=value,
        of_samples=within,
        of_factors=total - within,
        freedom=min(freedom),
        factors=f"over {' and '.join([*names, 'samples'])}",
    )


def resampled(
    prime: tuple[Array, float], second: tuple[Array, float], unit: float,
    generator: np.random.Generator,
) -> Array:  # fmt: skip
    """The difference of two weighed optima in resamples of their samples, shape [B].

    Args:
        prime: Rewards [N] of samples of p' and the KL weight.
        second: Likewise of p''.
        unit: What the difference is measured in.
        generator: Source of the resamples.
    """
    optima = [_resampled_optimum(reward_N, beta, generator) for reward_N, beta in (prime, second)]
    return np.asarray((optima[0] - optima[1]) / unit)


def _resampled_optimum(reward_N: Array, kl_weight: float, generator: np.random.Generator) -> Array:
    # Poisson numbers of copies; samples of one reward are drawn together.
    value_G, count_G = np.unique(reward_N, return_counts=True)
    tilt_G = np.exp((value_G - value_G[-1]) / kl_weight)
    sums = np.empty((RESAMPLES, 2))
    columns_G2 = np.stack([tilt_G, tilt_G * value_G], axis=1)
    step = max(1, 4_000_000 // len(value_G))  # bounds the memory
    for start in range(0, RESAMPLES, step):
        size = (min(step, RESAMPLES - start), len(value_G))
        sums[start : start + size[0]] = generator.poisson(count_G, size) @ columns_G2
    lost = sums[:, 0] <= 0  # none of those that weigh were drawn
    return np.where(lost, reward_N.min(), sums[:, 1] / np.where(lost, 1.0, sums[:, 0]))
