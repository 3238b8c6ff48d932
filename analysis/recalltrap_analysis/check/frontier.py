"""How much reward each anchor gives for how much KL, by best of n and by weighing its samples.

The weighed optimum traces the frontier as β goes from large to small; best of n comes close to it
from below and needs no weights. Where they part, or few samples hold the weight, neither is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recalltrap_analysis.check.decision import ENOUGH, ENOUGH_EACH
from recalltrap_analysis.check.references import Pair
from recalltrap_analysis.check.weighing import weigh
from recalltrap_analysis.runs.responses import Responses
from recalltrap_analysis.statistics.best_of_n import BestOfNCurve
from recalltrap_analysis.statistics.paired import Array

POINTS = 33
"""KL weights that trace a frontier."""
BEYOND = 8.0
"""Times the study's smallest and largest KL weight: how far it is traced."""


@dataclass(frozen=True)
class Frontier:
    """One anchor's frontier, means over seeds.

    By best of n at M numbers (`n_M`, `kl_M`, `best_of_n_M`), and by weighing at B KL weights, the
    largest first (`weight_B`, `kl_B`, `optimum_B`, `effective_B`). `trusted_B`: enough effective
    samples, and within the margin of best of n at the same KL. `marked` are the places in B of the
    study's own KL weights.
    """

    n_M: Array
    kl_M: Array
    best_of_n_M: Array
    weight_B: Array
    kl_B: Array
    optimum_B: Array
    effective_B: Array
    trusted_B: NDArray[np.bool_]
    marked: tuple[int, ...]

    def untrusted(self) -> list[tuple[float, float]]:
        """The ranges of KL in which the two ways disagree or the weights can't be trusted."""
        edges = np.concatenate([[0.0], (self.kl_B[1:] + self.kl_B[:-1]) / 2, [self.kl_B[-1]]])
        found: list[tuple[float, float]] = []
        for place, trusted in enumerate(self.trusted_B):
            if trusted:
                continue
            left, right = float(edges[place]), float(edges[place + 1])
            if found and found[-1][1] >= left:
                left = found.pop()[0]
            found.append((left, right))
        return [one for one in found if one[1] > one[0]]


def frontier(
    pair: Pair, responses: Sequence[Responses], kl_weights: Sequence[float], margin: float
) -> Frontier:
    """The frontier of one of a pair's anchors.

    Args:
        pair: The references.
        responses: Those of the anchor, one per seed: `pair.prime` or `pair.second`.
        kl_weights: The study's.
        margin: In the run's unit.
    """
    curves = [BestOfNCurve.of(one.reward_KN, one.weight_K) for one in responses]
    kl_M = curves[0].kl_M
    # seeds with fewer samples end earlier; there they stay where they are
    best_M = np.mean([np.interp(kl_M, c.kl_M, c.reward_M) for c in curves], axis=0)
    own = sorted({float(weight) for weight in kl_weights}, reverse=True)
    sweep = np.geomspace(own[0] * BEYOND, own[-1] / BEYOND, POINTS)
    others = [beta for beta in sweep.tolist() if not np.isclose(beta, own).any()]
    weight_B = np.array(sorted([*others, *own], reverse=True))
    weighed = [
        [weigh(one.reward_KN, one.weight_K, beta, pair.best) for one in responses]
        for beta in weight_B
    ]
    weight_K = responses[0].weight_K
    kl_B = np.array([np.mean([w.kl_K @ weight_K for w in of]) for of in weighed])
    optimum_B = np.array([np.mean([w.reward_K @ weight_K for w in of]) for of in weighed])
    effective_B = np.array([min(w.effective for w in of) for of in weighed])
    each_B = np.array([min(w.each for w in of) for of in weighed])
    apart_B = np.abs(optimum_B - np.interp(kl_B, kl_M, best_M)) / float(np.nanmean(pair.units))
    if len(kl_M) > 1:  # between the best of one and of two there is no best of n
        apart_B[kl_B < kl_M[1]] = 0.0
    trusted_B = (effective_B >= ENOUGH) & (each_B >= ENOUGH_EACH) & (apart_B <= margin)
    marked = tuple(int(np.flatnonzero(weight_B == beta)[0]) for beta in own)
    return Frontier(
        n_M=curves[0].n_M,
        kl_M=kl_M,
        best_of_n_M=best_M,
        weight_B=weight_B,
        kl_B=kl_B,
        optimum_B=optimum_B,
        effective_B=effective_B,
        trusted_B=trusted_B,
        marked=marked,
    )
