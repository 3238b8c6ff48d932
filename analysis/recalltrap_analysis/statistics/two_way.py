"""A mean over seeds × prompts, both of them samples: crossed random effects.

With a given p' seeds are no sample of models, and held-out prompts are a second random factor. Of
a paired difference y_np = mean + seed_n + prompt_p + rest_np the error of the mean has

    variance = (MS_seeds + MS_prompts - MS_rest) / (N P),

the method of moments of the two-way layout (Satterthwaite 1946 for its degrees of freedom). It is
never taken below what seeds or prompts alone say. Shapes: N seeds, P prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from recalltrap_analysis.statistics.paired import CONFIDENCE, Array, Estimate
from recalltrap_analysis.statistics.quantiles import t_quantile
from recalltrap_analysis.statistics.student import ONE_SIDED

TWO_WAY = "two-way t, seeds × prompts"


@dataclass(frozen=True)
class TwoWayMean:
    """A mean with its standard error, the error's degrees of freedom, and what it came from.

    `prompt_share` is the share of the error's variance that is the prompts'.
    """

    value: float
    error: float
    freedom: float
    seeds: int
    prompts: int
    prompt_share: float

    def half_width(self, level: float) -> float:
        """From the mean to the quantile of this level."""
        return t_quantile(level, self.freedom) * self.error

    def interval(self) -> Estimate:
        """The mean with its 95 % interval."""
        half = self.half_width(0.5 + CONFIDENCE / 2)
        return Estimate(self.value, self.value - half, self.value + half, TWO_WAY, self.seeds)

    def bounds(self, alpha: float = ONE_SIDED) -> tuple[float, float]:
        """The bounds that the true mean lies above, and below, each at level 1 - alpha."""
        half = self.half_width(1 - alpha)
        return self.value - half, self.value + half

    def p_values(self, margin: float) -> dict[str, float]:
        """One-sided p-values on the margin: small says what the name does."""
        larger, smaller = self._p_beyond(self.value, margin), self._p_beyond(-self.value, margin)
        return {"larger": larger, "smaller": smaller, "not_larger": 1 - larger,
                "not_smaller": 1 - smaller}  # fmt: skip

    def _p_beyond(self, value: float, margin: float) -> float:
        """Of a true mean at or below the margin."""
        if self.error == 0:
            return float(value <= margin)
        return float(stdtr(self.freedom, (margin - value) / self.error))


def two_way_possible(values_NP: Array) -> bool:
    """Whether there are two seeds and two prompts at least, and every value."""
    return min(values_NP.shape) > 1 and bool(np.isfinite(values_NP).all())


def two_way_mean(values_NP: Array) -> TwoWayMean:
    """The mean over seeds and prompts of a paired difference.

    Args:
        values_NP: The difference of every seed at every prompt, means over that prompt's samples.

    Raises:
        ValueError: fewer than two seeds or prompts, or a value that is not finite.
    """
    values_NP = np.asarray(values_NP, dtype=float)
    if values_NP.ndim != 2 or not two_way_possible(values_NP):
        raise ValueError("a two-way mean needs two seeds and two prompts at least, all finite")
    n, p = values_NP.shape
    mean = float(values_NP.mean())
    seed_N, prompt_P = values_NP.mean(axis=1) - mean, values_NP.mean(axis=0) - mean
    rest_NP = values_NP - mean - seed_N[:, None] - prompt_P[None, :]
    of_seeds = p * float((seed_N**2).sum()) / (n - 1)
    of_prompts = n * float((prompt_P**2).sum()) / (p - 1)
    of_rest = float((rest_NP**2).sum()) / ((n - 1) * (p - 1))
    total = max(of_seeds + of_prompts - of_rest, of_seeds, of_prompts)
    squares = of_seeds**2 / (n - 1) + of_prompts**2 / (p - 1)
    if total > max(of_seeds, of_prompts):
        squares += of_rest**2 / ((n - 1) * (p - 1))
    freedom = total**2 / squares if squares > 0 else float(n - 1)
    freedom = min(max(freedom, min(n, p) - 1.0), n + p - 2.0)
    share = of_prompts / (of_seeds + of_prompts) if of_seeds + of_prompts > 0 else 0.0
    return TwoWayMean(mean, (total / (n * p)) ** 0.5, freedom, n, p, share)
