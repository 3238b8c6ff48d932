"""What a reference's samples say of the best alignment anchored to it, at one KL weight.

The policy that maximises E[R] - β·KL(π || ref) is π*(y) ∝ ref(y)·exp(R(y) / β), so samples of the
reference weigh exp(R / β), prompt by prompt. Shapes: K prompts, N samples of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recalltrap_analysis.statistics.paired import Array

RARE = -math.log(0.05)
"""No more than this many are expected where none of a kind was seen, at 95 %: rule of three."""


@dataclass(frozen=True)
class Weighed:
    """The optimum anchored to one reference, weighed from its samples.

    Per prompt, shape [K]: `reward_K`, `error_K` (delta method), `kl_K`: KL(π* || ref) in nats.
    Means over prompts by weight: `bias`, by how much the reward is too low because the same samples
    stand above and below the line; `unseen`, by how much it would be higher if responses as good
    as the best that any reference gave were as common as is compatible with not being seen here.
    `effective`: effective samples, (Σ w)² / Σ w² of all; `each`: of a prompt, mean.
    """

    weight_KN: Array
    reward_K: Array
    error_K: Array
    kl_K: Array
    bias: float
    unseen: float
    effective: float
    each: float

    def mean(self, value_KN: Array, weight_K: Array) -> float:
        """Of something that every sample has, under the optimum; over prompts by weight."""
        return float(weight_K @ (self.weight_KN * value_KN).sum(axis=1))


def weigh(reward_KN: Array, weight_K: Array, kl_weight: float, best: float) -> Weighed:
    """Weigh one reference's samples.

    Args:
        reward_KN: Rewards of N samples for each of K prompts.
        weight_K: What a prompt counts, 1 in all.
        kl_weight: β.
        best: The largest reward that any reference was seen to give.

    Raises:
        ValueError: a reward that is not finite, or a KL weight that isn't positive.
    """
    if not np.isfinite(reward_KN).all():
        raise ValueError("a reward is not finite")
    if not kl_weight > 0:
        raise ValueError(f"a KL weight is positive, not {kl_weight}")
    count = reward_KN.shape[1]
    top_K1 = reward_KN.max(axis=1, keepdims=True)
    tilt_KN = np.exp((reward_KN - top_K1) / kl_weight)
    mean_K1 = tilt_KN.mean(axis=1, keepdims=True)
    weight_KN = tilt_KN / (count * mean_K1)
    reward_K = (weight_KN * reward_KN).sum(axis=1)
    off_KN = reward_KN - reward_K[:, None]
    square_KN = weight_KN**2
    with np.errstate(divide="ignore"):
        # KL(π* || ref) = E_π*[log(N w)]; a weight that underflows adds nothing
        log_KN = np.where(weight_KN > 0, np.log(np.maximum(weight_KN, 1e-300) * count), 0.0)
    # SNIS: E[Σ w R / Σ w] is E[R] - Cov / Σ w to second order
    bias_K = (square_KN * off_KN).sum(axis=1)
    share_K = _unseen_share(top_K1[:, 0], mean_K1[:, 0], kl_weight, best, reward_KN.size)
    return Weighed(
        weight_KN=weight_KN,
        reward_K=reward_K,
        error_K=np.sqrt((square_KN * off_KN**2).sum(axis=1)),
        kl_K=(weight_KN * log_KN).sum(axis=1),
        bias=max(0.0, float(weight_K @ bias_K)),
        unseen=float(weight_K @ (share_K * np.maximum(best - reward_K, 0.0))),
        effective=float(1.0 / (weight_K**2 @ square_KN.sum(axis=1))),
        each=float(weight_K @ (1.0 / square_KN.sum(axis=1))),
    )


def _unseen_share(
    top_K: Array, mean_K: Array, kl_weight: float, best: float, samples: int
) -> Array:
    """The optimum's share of responses of reward `best` that are as rare as 3 in all samples."""
    rate = min(RARE / samples, 1.0)
    log_odds_K = math.log(rate) + (best - top_K) / kl_weight - np.log(mean_K)
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds_K, -700.0, 700.0))))
