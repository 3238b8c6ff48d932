"""Invented evidence of one stratum: each ordering's curve, with known effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recalltrap_analysis.estimates.attainment import ATTAINMENT
from recalltrap_analysis.estimates.candidates import StratumEvidence, stratum_evidence
from recalltrap_analysis.estimates.reward_recall import Curve

Rows = npt.NDArray[np.float64]
WEIGHTS = (0.5, 1.0, 2.0, 4.0)
BUDGET = 1.5
ATTAINED_KA, RECALL_KA = (0.9, 0.7, 0.5, 0.3), (-4.0, -2.0, -1.0, -0.5)
COSTS: Mapping[str, float] = {"K-A": 1.0, "K-A@p'": 1.2, "A-K": 1.5, "mine": 2.0}


def curve(
    ordering: str,
    attained: Sequence[float] | Rows,
    recall: Sequence[float] | Rows = RECALL_KA,
    *,
    seeds: int = 12,
    noise: float = 0.02,
    weights: Sequence[Any] = WEIGHTS,
) -> Curve:
    """One ordering: values by KL weight [W], or all of them [N, W]; noise of its own is added.

    The recall of p' and the reward of p'' are 0.
    """
    attained_NW, recall_NW = (
        np.array(np.broadcast_to(np.asarray(values, dtype=float), (seeds, len(weights))))
        for values in (attained, recall)
    )
    drawn = np.random.default_rng([ord(sign) for sign in ordering]).normal(size=attained_NW.shape)
    attained_NW += noise * (drawn - drawn.mean(axis=0))  # the means are the effects
    none = np.full(attained_NW.shape, np.nan)
    zero = np.zeros(attained_NW.shape)
    return Curve(
        ordering, (), tuple(weights), tuple((weight,) for weight in weights),
        tuple(range(seeds)), attained_NW, attained_NW, none, recall_NW, zero, none, zero,
        np.zeros((*zero.shape, 0)),
    )  # fmt: skip


def evidence_of(
    *arms: Curve, costs: Mapping[str, float] | None = COSTS, budget: float = BUDGET, **named: Any
) -> StratumEvidence:
    """The evidence of some curves, K-A first; `costs` None: unknown."""
    spending = {
        (measure, point, arm.ordering, seed): costs[arm.ordering]
        for measure in ("flops", "device_seconds")
        for arm in arms
        for point in arm.points
        for seed in arm.seeds
        if costs is not None
    }
    return stratum_evidence(arms, {}, budget, spending=spending, **{"unit": ATTAINMENT, **named})
