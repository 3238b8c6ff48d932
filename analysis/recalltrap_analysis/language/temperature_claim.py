"""How the claim about the distillation's temperature (C14) is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recalltrap_analysis.claims.claim_tests import Findings, final, siblings
from recalltrap_analysis.claims.comparisons import DifferenceGrid, on_average
from recalltrap_analysis.claims.pool import Arm, Pool
from recalltrap_analysis.statistics.paired import Array

TEMPERATURE, LAST = "distill_temperature", "last_distill_temperature"


def temperature(pool: Pool, points: Sequence[int]) -> Findings:
    """C14: a lower distillation temperature gives more precision and less recall, monotonically.

    Judged of A-K along the temperature of its last distillation, or of every ordering along that of
    all distillations where nothing else says what the last one's is.
    """
    series, steps = [], {}
    arms: dict[Arm, None] = {}
    for group, last in _sweeps(pool, points):
        taus = sorted(group)
        for ordering in pool.orderings(group[taus[0]]):
            if last and ordering != "A-K":
                continue
            pair = [final(ordering, m) for m in ("overall_precision", "overall_recall")]
            arms |= dict.fromkeys(pair)
            one = pool.series([(group[tau], arm) for arm in pair for tau in taus],
                              (*pool.kind.swept, TEMPERATURE, LAST))  # fmt: skip
            series.append(one)
            steps[id(one)] = np.array(taus, dtype=float)
    findings = []
    for label, found in pool.by_stratum(series).items():
        complete = [one for one in found if one.state == "complete"]
        slopes = tuple(_slopes(one.values_AN, steps[id(one)]) for one in complete)
        left_out = tuple(one.state for one in found if one.state != "complete")
        name = "overall precision per unit of falling temperature"
        grid = DifferenceGrid(tuple(complete), slopes, left_out, (0.0, 0.0))
        finding = on_average(grid, label, name)
        bent = sum(not _monotone(one.values_AN) for one in complete)
        if bent and finding.verdict == "reproduced":
            text = f"{finding.detail}; means not monotone at {bent} of them"
            finding = replace(finding, verdict="mixed", detail=text)
        findings.append(finding)
    return Findings(findings, tuple(arms))


def _sweeps(pool: Pool, points: Sequence[int]) -> list[tuple[dict[float, int], bool]]:
    """Settings that differ in a temperature alone, by it; and whether it is the last one's."""
    found, plain = [], []
    for group in siblings(pool, points, LAST).values():
        named = {_last(pool.points[number]): number for number in group.values()}
        if len(named) > 1:
            found.append((named, True))
        elif None in group:
            plain.append(group[None])
    swept = [group for group in siblings(pool, plain, TEMPERATURE).values() if len(group) > 1]
    return found + [(group, False) for group in swept]


def _last(point: Mapping[str, Any]) -> float:
    own = point.get(LAST)
    return float(point[TEMPERATURE] if own is None else own)


def _slopes(values_AN: Array, tau_T: Array) -> Array:
    """Per seed: minus the slope of precision in τ, and the slope of recall; [2, N]."""
    x_T = tau_T - tau_T.mean()
    precision_TN, recall_TN = np.split(values_AN, 2)
    scale = float(x_T @ x_T)
    return np.stack([-(x_T @ precision_TN) / scale, x_T @ recall_TN / scale])


def _monotone(values_AN: Array) -> bool:
    precision_T, recall_T = np.split(values_AN.mean(axis=1), 2)
    return bool((np.diff(precision_T) <= 0).all() and (np.diff(recall_T) >= 0).all())
