"""How the part about recall of the claim about DPO (C12) is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recalltrap_analysis.claims.claim_tests import Findings, both, grids
from recalltrap_analysis.claims.comparisons import on_average
from recalltrap_analysis.claims.pool import Pool

MARGINAL = 0.2
"""Nats per token of recall that are still "marginally" less. Ours: the paper gives no number; its
A-K loses 0.20 from PPO (-4.21) to DPO (-4.41)."""


def recall_at_most_marginally_lower(pool: Pool, points: Sequence[int]) -> Findings:
    """C12: A-K's recall is not lower than K-A's by more than a marginal amount."""
    arms = both("overall_recall")
    findings = []
    for label, (grid, _) in grids(pool, points, arms).items():
        # that the difference is above -MARGINAL is that, raised by it, it is above 0
        raised = tuple(values + MARGINAL for values in grid.differences_KN)
        grid = replace(grid, differences_KN=raised, margins=(0.0,))
        findings.append(on_average(grid, label, f"recall A-K − K-A + {MARGINAL:g}"))
    return Findings(findings, arms)
