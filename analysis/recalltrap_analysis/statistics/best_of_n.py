"""Best of n: how good the best of n samples is, from N of them, and what it costs in KL.

A policy that answers with the best of n samples of its reference needs no training, so it bounds
from below what an alignment to that reference could be worth. Shapes: P prompts, N samples of each,
M numbers n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from recalltrap_analysis.statistics.paired import Array

EVERY_N_TO = 16
STEP = 1.1
"""Beyond, numbers n grow by a tenth: the objective is flat where it is largest."""


@dataclass(frozen=True)
class BestOfN:
    """The n that is best at one KL weight.

    `objective`, E_n - β·KL_n, is a lower bound of the optimal E[R] - β·KL(π || reference).
    `reward`, E_n, is an estimate of the optimum's and bounds nothing; nor does a difference of two.
    Every E_n is unbiased, the largest of them isn't: where one sample in 1,000 is worth 10 and the
    others nothing, 500 samples at β 1 give an objective of 1.99 in the mean. That is still below
    the optimum's 3.14, as in every case tried; an n near N is the sign.
    """

    n: int
    reward: float
    objective: float


@dataclass(frozen=True)
class BestOfNCurve:
    """What every n gives: the expected reward of the best of n, and its KL in nats; shape [M]."""

    n_M: Array
    reward_M: Array
    kl_M: Array

    @classmethod
    def of(cls, reward_PN: Array, weight_P: Array | None = None) -> BestOfNCurve:
        """The curve of one reference, from rewards of N of its samples for each of P prompts.

        Args:
            reward_PN: The rewards.
            weight_P: What a prompt counts, 1 in all; None: all alike.

        Raises:
            ValueError: no samples, or a reward that is not finite.
        """
        numbers = tried(reward_PN.shape[-1])
        return cls(
            np.array(numbers, dtype=float),
            expected_maximum(reward_PN, numbers, weight_P),
            np.array([kl_bound(n) for n in numbers]),
        )

    def best(self, kl_weight: float) -> BestOfN:
        """The n with the largest E_n - β·KL_n, one for all prompts."""
        objective_M = self.reward_M - kl_weight * self.kl_M
        place = int(np.argmax(objective_M))
        return BestOfN(int(self.n_M[place]), float(self.reward_M[place]), float(objective_M[place]))


def expected_maximum(
    reward_PN: Array, numbers: Sequence[int], weight_P: Array | None = None
) -> Array:
    """The unbiased expected maximum of n samples, mean over prompts; shape [M].

    E_n = Σ_i R_(i)·C(i-1, n-1) / C(N, n), R_(i) the i-th smallest: the mean over all subsets of n
    of the N samples.

    Args:
        reward_PN: Rewards of N samples for each of P prompts.
        numbers: Numbers n, from 1 to N.
        weight_P: What a prompt counts, 1 in all; None: all alike.

    Raises:
        ValueError: no samples, an n outside, or a reward that is not finite.
    """
    if reward_PN.ndim != 2 or not reward_PN.size:
        raise ValueError(f"rewards are of shape [prompts, samples], not {list(reward_PN.shape)}")
    if not np.isfinite(reward_PN).all():
        raise ValueError("a reward is not finite")
    weights_MN = maximum_weights(reward_PN.shape[1], tuple(numbers))
    expected_PM = np.sort(reward_PN, axis=1) @ weights_MN.T
    return np.asarray(np.average(expected_PM, axis=0, weights=weight_P))


@lru_cache(maxsize=4)
def maximum_weights(count: int, numbers: tuple[int, ...]) -> Array:
    """P(the largest of n of the N samples is the i-th smallest of all); shape [M, N].

    By ratios, from the largest sample down, since binomials overflow:
    C(i-1, n-1) / C(i, n-1) = (i-n+1) / i, and C(N-1, n-1) / C(N, n) = n / N.
    """
    if not all(1 <= n <= count for n in numbers):
        raise ValueError(f"the best of n needs 1 <= n <= {count}, the samples: {numbers}")
    n_M1 = np.array(numbers, dtype=float)[:, None]
    i_N = np.arange(1, count, dtype=float)
    ratio_MN = np.maximum(i_N - n_M1 + 1.0, 0.0) / i_N
    weights_MN = np.empty((len(numbers), count))
    weights_MN[:, -1:] = n_M1 / count
    below_MN = np.cumprod(ratio_MN[:, ::-1], axis=1)[:, ::-1]
    weights_MN[:, :-1] = weights_MN[:, -1:] * below_MN
    weights_MN.flags.writeable = False
    return weights_MN


def kl_bound(n: int) -> float:
    """log n - (n-1)/n: KL(best of n || reference) is at most this, and this without ties; nats."""
    return math.log(n) - (n - 1) / n


def tried(count: int) -> list[int]:
    """The numbers n that are tried with so many samples: from 1 to all of them."""
    numbers, n = list(range(1, min(count, EVERY_N_TO) + 1)), float(EVERY_N_TO)
    while (n := n * STEP) < count:
        numbers.append(round(n))
    return sorted({*numbers, count})
