"""How the claims about mixtures are judged: which arms, at which settings, and the test.

Each function takes the pool and the settings that fit its claim, and returns its findings by
stratum. Thresholds are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recalltrap_analysis.claims.claim_tests import (
    Findings,
    both,
    final,
    grids,
    joined,
    margins,
    siblings,
)
from recalltrap_analysis.claims.comparisons import (
    DifferenceGrid,
    mean_over_grid,
    on_average,
    somewhere,
)
from recalltrap_analysis.claims.pool import ATTAINMENT, Arm, Pool, Series
from recalltrap_analysis.claims.spreads import spread_finding
from recalltrap_analysis.claims.verdict import Finding
from recalltrap_analysis.estimates.order_effect import KD_THEN_ALIGN
from recalltrap_analysis.statistics.effect_sizes import ratio_of_means
from recalltrap_analysis.statistics.paired import Array

STRONG_ANCHOR = 1.0
TWICE = 2.0
ALIGNMENT = (
    "algorithm", "kl_weight", "iterations", "ppo_epochs", "clip_range", "value_learning_rate",
    "kl_estimator", "preference_noise", "offline_pairs",
)  # fmt: skip
"""Settings that p' and p'' don't depend on: claims about those two are judged once for all."""


def higher_recall_lower_precision(pool: Pool, points: Sequence[int]) -> Findings:
    """C4: at a strong anchor K-A has somewhere the higher recall with the lower precision."""
    arms = (*reversed(both("overall_recall")), *both("target_precision"))
    strong = [p for p in points if (pool.points[p].get("kl_weight") or 0.0) >= STRONG_ANCHOR]
    found = grids(pool, strong, arms)
    name = "recall K-A − A-K"
    return Findings([somewhere(grid, label, name) for label, (grid, _) in found.items()], arms)


def comparable_variance_higher_recall(pool: Pool, points: Sequence[int]) -> Findings:
    """C8: off-policy, the reward's spreads are comparable and A-K has the higher recall."""
    rewards, recalls = both("reward"), both("overall_recall")
    findings = []
    by_reward = grids(pool, points, rewards)
    for label, (grid, _) in grids(pool, points, recalls).items():
        recall = on_average(grid, label, "recall A-K − K-A")
        name = "sd(K-A) / sd(A-K)"
        near = spread_finding(by_reward[label][1], [1], [0], label, name, comparable=True)
        findings.append(joined([recall, near]))
    return Findings(findings, (*rewards, *recalls))


def longer_alignment_does_not_help(pool: Pool, points: Sequence[int]) -> Findings:
    """C5: at the longest alignment A-K leads, and doubling it would leave K-A behind.

    The lead is judged on its margin, what is left of it after the doubling on 0.

    K-A's gain per doubling is the slope of its reward in log2(iterations), per seed, over the
    alignments of at least half the longest (the last two at least).
    """
    arms = both(ATTAINMENT)
    series, gains = [], []
    for group in siblings(pool, points, "iterations").values():
        lengths = sorted(group)
        late = [n for n in lengths if n >= lengths[-1] / 2]
        late = late if len(late) > 1 else lengths[-2:]
        if len(late) < 2:
            continue
        long = group[lengths[-1]]
        ak, ka = (pool.scaled(arm, long) for arm in arms)
        wanted = [(long, ak), *((group[n], ka) for n in reversed(late))]
        series.append(pool.series(wanted))
        gains.append(tuple(reversed(late)))
    lengths_of = {id(one): late for one, late in zip(series, gains, strict=True)}
    findings = []
    for label, found in pool.by_stratum(series).items():
        complete = [one for one in found if one.state == "complete"]
        values = tuple(_remaining(one.values_AN, lengths_of[id(one)]) for one in complete)
        left_out = tuple(one.state for one in found if one.state != "complete")
        margin = margins(pool, found, arms[:1])[0]
        grid = DifferenceGrid(tuple(complete), values, left_out, (margin, 0.0))
        finding = on_average(grid, label, "attainment A-K − K-A at the longest alignment")
        if complete:
            slope = replace(grid, differences_KN=tuple(v[:1] - v[1:] for v in values))
            gain = mean_over_grid(slope).text()
            text = f"{finding.detail}; K-A still gains {gain} per doubling of the iterations"
            finding = replace(finding, detail=text)
        findings.append(finding)
    return Findings(findings, arms)


def _remaining(values_AN: Array, lengths: Sequence[int]) -> Array:
    """The gap at the longest alignment, and what one more doubling would leave of it; [2, N]."""
    x_L = np.log2(np.asarray(lengths, dtype=float))
    x_L = x_L - x_L.mean()
    slope_N = x_L @ values_AN[1:] / (x_L @ x_L)
    gap_N = values_AN[0] - values_AN[1]
    return np.stack([gap_N, gap_N - slope_N])


def smaller_student_varies_more(pool: Pool, points: Sequence[int]) -> Findings:
    """C6: K-A's reward spreads more with 3 components than with 4."""
    arm = final(KD_THEN_ALIGN, "reward")
    series = [
        pool.series([(group[3], arm), (group[4], arm)], ("kl_weight", "iterations"))
        for group in siblings(pool, points, "student_components").values()
        if {3, 4} <= set(group)
    ]
    series = [_without(one, "student_components") for one in series]
    name = "sd of K-A with 3 components / with 4"
    found = pool.by_stratum(series)
    return Findings(
        [spread_finding(s, [0], [1], label, name) for label, s in found.items()], (arm,)
    )


def _without(series: Series, name: str) -> Series:
    stratum = tuple((key, value) for key, value in series.stratum if key != name)
    return Series(series.label, stratum, series.seeds, series.values_AN, series.state,
                  series.points)  # fmt: skip


def variance_grows_with_targets(pool: Pool, points: Sequence[int]) -> Findings:
    """C9: with a second target K-A's reward spreads more, and its spread grows more than A-K's."""
    arms = both("reward")
    everything = siblings(pool, range(len(pool.points)), "targets")
    wanted, series = set(points), []
    for group in everything.values():
        for targets, number in group.items():
            single = [group[(t,)] for t in targets or () if (t,) in group]
            if number in wanted and len(targets or ()) > 1 and single:
                pairs = [(single[-1], arm) for arm in arms] + [(number, arm) for arm in arms]
                series.append(pool.series(pairs))
    findings = []
    for label, found in pool.by_stratum(series).items():
        grows = spread_finding(found, [3], [1], label, "sd of K-A, two targets / one")
        name = "growth of K-A's sd / growth of A-K's"
        findings.append(joined([grows, spread_finding(found, [3, 0], [1, 2], label, name)]))
    return Findings(findings, arms)


def references_recall_and_hit_rate(pool: Pool, points: Sequence[int]) -> Findings:
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
    swept = (*pool.kind.swept, *ALIGNMENT)
    fullest = [max(numbers, key=pool.seeds_planned) for numbers in distinct.values()]
    series = [pool.series([(number, arm) for arm in arms], swept) for number in fullest]
    findings = []
    for label, found in pool.by_stratum(series).items():
        gap = DifferenceGrid.of(found, lambda v: v[:1] - v[1:2])
        rates = DifferenceGrid.of(found, lambda v: v[2:3] - TWICE * v[3:4], (0.0,))
        recall = on_average(gap, label, "recall p' − p''")
        hits = on_average(rates, label, "hit rate p' − 2 × hit rate p''")
        parts = [recall, _with_hit_ratio(rates, hits) if rates.series else hits]
        findings.append(joined(parts))
    return Findings(findings, arms)


def _with_hit_ratio(grid: DifferenceGrid, finding: Finding) -> Finding:
    values = [one.values_AN for one in grid.series if one.seeds == grid.series[0].seeds]
    rate_2N = np.mean([found[2:] for found in values], axis=0)
    words = "p'' never hits"
    if rate_2N[1].mean() > 0:
        words = f"hit-rate ratio {ratio_of_means(rate_2N[0], rate_2N[1]).text(1)}"
    return replace(finding, detail=f"{finding.detail}, {words}")
