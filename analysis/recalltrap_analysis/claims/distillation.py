"""Claims about what distillation alone does: C10 (p' against p'') and C14 (its temperature)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recalltrap_analysis.claims.comparisons import Grid, almost_everywhere
from recalltrap_analysis.claims.judgements import Judged, final, joined, siblings
from recalltrap_analysis.claims.pool import SWEPT, Arm, Pool, by_stratum
from recalltrap_analysis.claims.verdict import Finding
from recalltrap_analysis.statistics.effect_sizes import ratio_of_means
from recalltrap_analysis.statistics.paired import Array

TWICE = 2.0
TEMPERATURE, LAST = "distill_temperature", "last_distill_temperature"
ALIGNMENT = (
    "algorithm", "kl_weight", "iterations", "ppo_epochs", "clip_range", "value_learning_rate",
    "kl_estimator", "preference_noise", "offline_pairs", "last_distill_temperature",
)  # fmt: skip
"""Settings that p' and p'' don't depend on: claims about those two are judged once for all."""


def references(pool: Pool, points: Sequence[int]) -> Judged:
    """C10: p' has the higher recall, and hits the high-reward region at least twice as often."""
    arms = tuple(
        Arm(None, model, metric)
        for metric in ("overall_recall", "hit_rate")
        for model in ("p_prime", "p_second")
    )
    distinct: dict[Any, list[int]] = {}
    for number in points:
        kept = ((k, v) for k, v in pool.points[number].items() if k not in ALIGNMENT)
        distinct.setdefault(tuple(kept), []).append(number)
    swept = (*SWEPT, *ALIGNMENT)
    fullest = [max(numbers, key=pool.seeds_planned) for numbers in distinct.values()]
    series = [pool.series([(number, arm) for arm in arms], swept) for number in fullest]
    findings = []
    for label, found in by_stratum(series).items():
        gap = Grid.of(found, lambda v: v[:1] - v[1:2])
        rates = Grid.of(found, lambda v: v[2:3] - TWICE * v[3:4])
        recall = almost_everywhere(gap, label, "recall p' − p''")
        hits = almost_everywhere(rates, label, "hit rate p' − 2 × hit rate p''")
        parts = [recall, _with_hit_ratio(rates, hits) if rates.series else hits]
        findings.append(joined(parts))
    return Judged(findings, arms)


def _with_hit_ratio(grid: Grid, finding: Finding) -> Finding:
    values = [one.values_AN for one in grid.series if one.seeds == grid.series[0].seeds]
    rate_2N = np.mean([found[2:] for found in values], axis=0)
    words = "p'' never hits"
    if rate_2N[1].mean() > 0:
        words = f"hit-rate ratio {ratio_of_means(rate_2N[0], rate_2N[1]).text(1)}"
    return replace(finding, detail=f"{finding.detail}, {words}")


def temperature(pool: Pool, points: Sequence[int]) -> Judged:
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
                              (*SWEPT, TEMPERATURE, LAST))  # fmt: skip
            series.append(one)
            steps[id(one)] = np.array(taus, dtype=float)
    findings = []
    for label, found in by_stratum(series).items():
        complete = [one for one in found if one.state == "complete"]
        slopes = tuple(_slopes(one.values_AN, steps[id(one)]) for one in complete)
        left_out = tuple(one.state for one in found if one.state != "complete")
        name = "overall precision per unit of falling temperature"
        finding = almost_everywhere(Grid(tuple(complete), slopes, left_out), label, name)
        bent = sum(not _monotone(one.values_AN) for one in complete)
        if bent and finding.verdict == "reproduced":
            text = f"{finding.detail}; means not monotone at {bent} of them"
            finding = replace(finding, verdict="mixed", detail=text)
        findings.append(finding)
    return Judged(findings, tuple(arms))


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
