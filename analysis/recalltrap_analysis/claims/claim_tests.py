"""What the tests of claims share: arms, grids of differences, findings of several parts.

A test takes the pool and the settings that fit its claim, and returns its findings by stratum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recalltrap_analysis.claims.comparisons import (
    DifferenceGrid,
    on_average,
    rising,
)
from recalltrap_analysis.claims.pool import IN_SDS, Arm, Pool, Series
from recalltrap_analysis.claims.spreads import spread_finding
from recalltrap_analysis.claims.verdict import Finding, all_parts
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, KD_THEN_ALIGN
from recalltrap_analysis.statistics.margin import MARGIN, MARGIN_IN_SDS
from recalltrap_analysis.statistics.paired import Array


@dataclass(frozen=True)
class Findings:
    """Findings by stratum, and the arms that were read for them."""

    findings: list[Finding]
    arms: tuple[Arm, ...] = field(default=())


ClaimTest = Callable[[Pool, Sequence[int]], Findings]


def each(*judges: ClaimTest) -> ClaimTest:
    """All of these tests must hold, in every stratum by itself; the effect is the first one's."""

    def judge(pool: Pool, points: Sequence[int]) -> Findings:
        judged = [judge(pool, points) for judge in judges]
        parts = [{part.stratum: part for part in one.findings} for one in judged]
        findings = [joined([part[label] for part in parts]) for label in parts[0]]
        return Findings(findings, tuple(arm for one in judged for arm in one.arms))

    return judge


def steadier(name: str, metric: str) -> ClaimTest:
    """A-K varies less over the seeds than K-A: the instability ratio is above 1."""
    arms = both(metric)

    def judge(pool: Pool, points: Sequence[int]) -> Findings:
        found = grids(pool, points, arms)
        return Findings(
            [spread_finding(s, [1], [0], label, name) for label, (_, s) in found.items()], arms
        )

    return judge


def final(ordering: str, metric: str) -> Arm:
    return Arm(ordering, "final", metric)


def both(metric: str) -> tuple[Arm, Arm]:
    """A-K's and K-A's final models, in this order: their difference is A-K minus K-A."""
    return final(ALIGN_THEN_KD, metric), final(KD_THEN_ALIGN, metric)


def lead(values_AN: Array) -> Array:
    """Differences of neighbouring arms: first minus second, third minus fourth, and so on."""
    return np.asarray(values_AN[0::2] - values_AN[1::2])


def grids(
    pool: Pool, points: Sequence[int], arms: Sequence[Arm]
) -> dict[str, tuple[DifferenceGrid, list[Series]]]:
    """The arms at every point, by stratum, and the differences of neighbouring ones."""
    series = [pool.series([(point, pool.scaled(arm, point)) for arm in arms]) for point in points]
    return {
        label: (DifferenceGrid.of(found, lead, margins(pool, found, arms[0::2])), found)
        for label, found in pool.by_stratum(series).items()
    }


def margins(pool: Pool, series: Sequence[Series], arms: Sequence[Arm]) -> tuple[float, ...]:
    """The margin of a difference in each arm's metric, in a stratum's own unit."""
    point = min(series[0].points)
    scaled = (pool.scaled(arm, point) for arm in arms)
    return tuple(MARGIN_IN_SDS if arm.metric == IN_SDS else MARGIN for arm in scaled)


def higher(name: str, *metrics: str, intermediate: bool = False, rises: bool = False) -> ClaimTest:
    """A-K (or its aligned intermediate p'_AK) is above K-A in all the metrics.

    On the grid's mean; or, of a claim that `rises`, somewhere, and the more the larger `kl_weight`.
    """
    model = "p_prime_aligned" if intermediate else "final"
    arms = tuple(
        arm
        for metric in metrics
        for arm in (Arm(ALIGN_THEN_KD, model, metric), final(KD_THEN_ALIGN, metric))
    )

    def judge(pool: Pool, points: Sequence[int]) -> Findings:
        findings = []
        for label, (grid, _) in grids(pool, points, arms).items():
            if rises:
                findings.append(rising(grid, label, name, pool.kind.kl_weight))
            else:
                findings.append(on_average(grid, label, name))
        return Findings(findings, arms)

    return judge


def joined(parts: Sequence[Finding]) -> Finding:
    """One finding from the parts of a claim; the effect is the first part's."""
    return Finding(
        all_parts(parts),
        parts[0].effect,
        "; ".join(f"{part.verdict}: {part.detail}" for part in parts),
        parts[0].stratum,
        frozenset().union(*(part.points for part in parts)),
    )


def siblings(pool: Pool, points: Sequence[int], name: str) -> dict[Any, dict[Any, int]]:
    """Settings that differ in one field alone: by the others, then by that field's value."""
    groups: dict[Any, dict[Any, int]] = {}
    for number in points:
        point = pool.points[number]
        rest = tuple((key, value) for key, value in point.items() if key != name)
        groups.setdefault(rest, {})[point.get(name)] = number
    return groups
