"""The anchor part to expect at one KL weight, a*(p') - a*(p''), and how far it can be trusted.

Shapes: S seeds, K prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from recalltrap.streams import stream
from recalltrap_analysis.check.intervals import Spread, resampled, two_way
from recalltrap_analysis.check.references import Pair
from recalltrap_analysis.check.weighing import Weighed, weigh
from recalltrap_analysis.runs.responses import Responses
from recalltrap_analysis.statistics.best_of_n import BestOfNCurve
from recalltrap_analysis.statistics.paired import Array


@dataclass(frozen=True)
class Anchor:
    """What one reference promises at one KL weight; means over seeds.

    `reward` is that of the weighed optimum; `best_of_n` that of the best of `n` samples, at the n
    with the largest E_n - β·KL_n. `effective` and `each` are the fewest effective samples of any
    seed, in all and of a prompt. `bias` and `unseen`: see `weighing`, in the run's unit. Of the
    chosen responses, by either way: those of `QUALITIES`.
    """

    reward: float
    effective: float
    each: float
    bias: float
    unseen: float
    n: int
    best_of_n: float
    chosen: dict[str, dict[str, float]]


@dataclass(frozen=True)
class AnchorPart:
    """The anchor part of one pair of references at one KL weight, in the run's unit.

    `spread` is of the weighed optima; `best_of_n` the difference of the two best of n.
    """

    pair: Pair
    kl_weight: float
    spread: Spread
    prime: Anchor
    second: Anchor
    best_of_n: float


OPTIMUM, BEST_OF_N = "optimum", "best of n"
QUALITIES = ("judge", "tokens", "finished")
"""Of chosen responses: log-likelihood per token under the judge, tokens, share that ended."""


class Curves:
    """Best of n of a pair's references, made once for all KL weights."""

    def __init__(self, pair: Pair) -> None:
        self.prime = [BestOfNCurve.of(one.reward_KN, one.weight_K) for one in pair.prime]
        self.second = [BestOfNCurve.of(one.reward_KN, one.weight_K) for one in pair.second]


def anchor_part(pair: Pair, kl_weight: float, curves: Curves) -> AnchorPart | None:
    """The anchor part of a pair at one KL weight; None where a seed's unit isn't known."""
    unit_S = np.array(pair.units)
    if not np.isfinite(unit_S).all():
        return None
    prime = [weigh(one.reward_KN, one.weight_K, kl_weight, pair.best) for one in pair.prime]
    second = [weigh(one.reward_KN, one.weight_K, kl_weight, pair.best) for one in pair.second]
    weight_K = pair.prime[0].weight_K
    value_SK = _each(prime, "reward_K") - _each(second, "reward_K")
    error_SK = np.sqrt(_each(prime, "error_K") ** 2 + _each(second, "error_K") ** 2)
    spread = two_way(value_SK / unit_S[:, None], error_SK / unit_S[:, None], weight_K)
    if value_SK.size == 1:
        # The delta method thinks a single response that holds all weight to be certain.
        draws_B = resampled(
            (pair.prime[0].reward_KN[0], kl_weight),
            (pair.second[0].reward_KN[0], kl_weight),
            float(unit_S[0]),
            stream(pair.seeds[0], f"analysis/check/{kl_weight!r}"),
        )
        # what the resamples vary by is the samples' error, where the delta method says less
        within = max(spread.of_samples, float(draws_B.var()))
        spread = Spread(spread.value, within, 0.0, np.inf, spread.factors, draws_B)
    first = _anchor(pair.prime, prime, curves.prime, kl_weight, unit_S)
    other = _anchor(pair.second, second, curves.second, kl_weight, unit_S)
    best = [c.best(kl_weight).reward - d.best(kl_weight).reward
            for c, d in zip(curves.prime, curves.second, strict=True)]  # fmt: skip
    return AnchorPart(
        pair, kl_weight, spread, first, other, float((np.array(best) / unit_S).mean())
    )


def _each(weighed: list[Weighed], name: str) -> Array:
    return np.array([getattr(one, name) for one in weighed])


def _anchor(
    responses: tuple[Responses, ...],
    weighed: list[Weighed],
    curves: list[BestOfNCurve],
    kl_weight: float,
    unit_S: Array,
) -> Anchor:
    best = [curve.best(kl_weight) for curve in curves]
    means: dict[str, dict[str, Any]] = {OPTIMUM: {}, BEST_OF_N: {}}
    for name in QUALITIES:
        values = [getattr(one, f"{name}_KN") for one in responses]
        means[OPTIMUM][name] = [
            w.mean(x, one.weight_K) for w, x, one in zip(weighed, values, responses, strict=True)
        ]
        means[BEST_OF_N][name] = [
            chosen_mean(one, x, found.n)
            for one, x, found in zip(responses, values, best, strict=True)
        ]
    return Anchor(
        reward=float(np.mean([w.reward_K @ one.weight_K
                              for w, one in zip(weighed, responses, strict=True)])),
        effective=min(w.effective for w in weighed),
        each=min(w.each for w in weighed),
        bias=float(np.mean(np.array([w.bias for w in weighed]) / unit_S)),
        unseen=float(np.mean(np.array([w.unseen for w in weighed]) / unit_S)),
        n=int(np.median([found.n for found in best])),
        best_of_n=float(np.mean([found.reward for found in best])),
        chosen={way: {name: float(np.mean(x)) for name, x in found.items()}
                for way, found in means.items()},
    )  # fmt: skip


def chosen_mean(responses: Responses, value_KN: Array, n: int) -> float:
    """Of something that every sample has: its mean in the best of n; over prompts by weight."""
    return float(responses.weight_K @ chosen_means(responses.reward_KN, value_KN, n))


def chosen_means(reward_KN: Array, value_KN: Array, n: int) -> Array:
    """Of something that every sample has: its mean in the best of n of every prompt; shape [K].

    Samples of the same reward are chosen alike, whatever their order. NaN where a value is not
    finite.
    """
    if not np.isfinite(value_KN).all():
        return np.full(len(value_KN), np.nan)
    count = value_KN.shape[1]
    found = []
    for reward_N, value_N in zip(reward_KN, value_KN, strict=True):
        _, group_N = np.unique(reward_N, return_inverse=True)
        size_G = np.bincount(group_N)
        mean_G = np.bincount(group_N, value_N) / size_G
        # P(the best of n is no better than a group): C(reached, n) / C(N, n), by logarithms
        reached_G = size_G.cumsum()
        no_better_G = _subsets_within(reached_G, count, n)
        chosen_G = np.diff(no_better_G, prepend=0.0)
        found.append(float(chosen_G @ mean_G))
    return np.array(found)


def _subsets_within(reached_G: Array, count: int, n: int) -> Array:
    """The share of all subsets of n of `count` that lie within the lowest so many."""
    reached_G = reached_G.astype(float)
    fits_G = np.maximum(reached_G, n)
    log_G = gammaln(fits_G + 1) - gammaln(fits_G - n + 1)
    log_G -= gammaln(count + 1) - gammaln(count - n + 1)
    return np.where(reached_G >= n, np.exp(log_G), 0.0)
