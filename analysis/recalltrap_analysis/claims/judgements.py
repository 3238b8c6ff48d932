"""One function per claim or family of claims: which arms, at which settings, judged how.

Each takes the pool and the settings that fit the claim, and returns its findings by stratum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recalltrap_analysis.claims.comparisons import (
    Differences,
    Grid,
    almost_everywhere,
    mean_over_grid,
    somewhere,
)
from recalltrap_analysis.claims.pool import Arm, Pool, Series, by_stratum
from recalltrap_analysis.claims.spreads import spread_finding
from recalltrap_analysis.claims.verdict import Finding, all_parts
from recalltrap_analysis.estimates.severity import ALIGN_THEN_KD, KD_THEN_ALIGN
from recalltrap_analysis.statistics.paired import Array

STRONG_ANCHOR = 1.0


@dataclass(frozen=True)
class Judged:
    """Findings by stratum, and the arms that were read for them."""

    findings: list[Finding]
    arms: tuple[Arm, ...] = field(default=())


Judge = Callable[[Pool, Sequence[int]], Judged]


def final(ordering: str, metric: str) -> Arm:
    return Arm(ordering, "final", metric)


def both(metric: str) -> tuple[Arm, Arm]:
    """A-K's and K-A's final models, in this order: their difference is A-K minus K-A."""
    return final(ALIGN_THEN_KD, metric), final(KD_THEN_ALIGN, metric)


def lead(values_AN: Array) -> Array:
    """Differences of neighbouring arms: first minus second, third minus fourth, and so on."""
    return np.asarray(values_AN[0::2] - values_AN[1::2])


def grids(
    pool: Pool, points: Sequence[int], arms: Sequence[Arm], differences: Differences
) -> dict[str, tuple[Grid, list[Series]]]:
    """The arms at every point, by stratum."""
    series = by_stratum(pool.series([(point, arm) for arm in arms]) for point in points)
    return {label: (Grid.of(found, differences), found) for label, found in series.items()}


def higher(name: str, *metrics: str, intermediate: bool = False) -> Judge:
    """A-K (or its aligned intermediate p'_AK) is above K-A in all the metrics."""
    model = "p_prime_aligned" if intermediate else "final"
    arms = tuple(
        arm
        for metric in metrics
        for arm in (Arm(ALIGN_THEN_KD, model, metric), final(KD_THEN_ALIGN, metric))
    )

    def judge(pool: Pool, points: Sequence[int]) -> Judged:
        found = grids(pool, points, arms, lead)
        return Judged([almost_everywhere(g, label, name) for label, (g, _) in found.items()], arms)

    return judge


def steadier(pool: Pool, points: Sequence[int]) -> Judged:
    """C3: the instability ratio of the reward is above 1."""
    arms = both("reward")
    found = grids(pool, points, arms, lead)
    name = "sd(K-A) / sd(A-K)"
    return Judged([spread_finding(s, [1], [0], label, name) for label, (_, s) in found.items()],
                  arms)  # fmt: skip


def misleading_recall(pool: Pool, points: Sequence[int]) -> Judged:
    """C4: at a strong anchor K-A has somewhere the higher recall with the lower precision."""
    arms = (*reversed(both("overall_recall")), *both("target_precision"))
    strong = [p for p in points if (pool.points[p].get("kl_weight") or 0.0) >= STRONG_ANCHOR]
    found = grids(pool, strong, arms, lead)
    name = "recall K-A − A-K"
    return Judged([somewhere(grid, label, name) for label, (grid, _) in found.items()], arms)


def precise_and_steady(pool: Pool, points: Sequence[int]) -> Judged:
    """C7: A-K has the higher overall precision, and varies less in it."""
    arms = both("overall_precision")
    findings = []
    for label, (grid, series) in grids(pool, points, arms, lead).items():
        mean = almost_everywhere(grid, label, "overall precision A-K − K-A")
        spread = spread_finding(series, [1], [0], label, "sd(K-A) / sd(A-K)")
        findings.append(joined([mean, spread]))
    return Judged(findings, arms)


def comparable_and_wider(pool: Pool, points: Sequence[int]) -> Judged:
    """C8: off-policy, the reward's spreads are comparable and A-K has the higher recall."""
    rewards, recalls = both("reward"), both("overall_recall")
    findings = []
    by_reward = grids(pool, points, rewards, lead)
    for label, (grid, _) in grids(pool, points, recalls, lead).items():
        recall = almost_everywhere(grid, label, "recall A-K − K-A")
        name = "sd(K-A) / sd(A-K)"
        near = spread_finding(by_reward[label][1], [1], [0], label, name, comparable=True)
        findings.append(joined([recall, near]))
    return Judged(findings, (*rewards, *recalls))


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


def no_rescue(pool: Pool, points: Sequence[int]) -> Judged:
    """C5: at the longest alignment A-K leads, and by more than K-A would gain by doubling it.

    K-A's gain per doubling is the slope of its reward in log2(iterations), per seed, over the
    alignments of at least half the longest (the last two at least).
    """
    arms = both("reward")
    series, gains = [], []
    for group in siblings(pool, points, "iterations").values():
        lengths = sorted(group)
        late = [n for n in lengths if n >= lengths[-1] / 2]
        late = late if len(late) > 1 else lengths[-2:]
        if len(late) < 2:
            continue
        wanted = [(group[lengths[-1]], arms[0]), *((group[n], arms[1]) for n in reversed(late))]
        series.append(pool.series(wanted))
        gains.append(tuple(reversed(late)))
    lengths_of = {id(one): late for one, late in zip(series, gains, strict=True)}
    findings = []
    for label, found in by_stratum(series).items():
        complete = [one for one in found if one.state == "complete"]
        values = tuple(_remaining(one.values_AN, lengths_of[id(one)]) for one in complete)
        left_out = tuple(one.state for one in found if one.state != "complete")
        grid = Grid(tuple(complete), values, left_out)
        finding = almost_everywhere(grid, label, "reward A-K − K-A at the longest alignment")
        if complete:
            slope = Grid(grid.series, tuple(v[:1] - v[1:] for v in values), ())
            gain = mean_over_grid(slope).text()
            text = f"{finding.detail}; K-A still gains {gain} per doubling of the iterations"
            finding = Finding(finding.verdict, finding.effect, text, label, finding.points)
        findings.append(finding)
    return Judged(findings, arms)


def _remaining(values_AN: Array, lengths: Sequence[int]) -> Array:
    """The gap at the longest alignment, and what one more doubling would leave of it; [2, N]."""
    x_L = np.log2(np.asarray(lengths, dtype=float))
    x_L = x_L - x_L.mean()
    slope_N = x_L @ values_AN[1:] / (x_L @ x_L)
    gap_N = values_AN[0] - values_AN[1]
    return np.stack([gap_N, gap_N - slope_N])


def stricter_is_shakier(pool: Pool, points: Sequence[int]) -> Judged:
    """C6: K-A's reward spreads more with 3 components than with 4."""
    arm = final(KD_THEN_ALIGN, "reward")
    series = [
        pool.series([(group[3], arm), (group[4], arm)], ("kl_weight", "iterations"))
        for group in siblings(pool, points, "student_components").values()
        if {3, 4} <= set(group)
    ]
    series = [_without(one, "student_components") for one in series]
    name = "sd of K-A with 3 components / with 4"
    found = by_stratum(series)
    return Judged([spread_finding(s, [0], [1], label, name) for label, s in found.items()], (arm,))


def _without(series: Series, name: str) -> Series:
    stratum = tuple((key, value) for key, value in series.stratum if key != name)
    return Series(series.label, stratum, series.seeds, series.values_AN, series.state,
                  series.points)  # fmt: skip


def two_targets(pool: Pool, points: Sequence[int]) -> Judged:
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
    for label, found in by_stratum(series).items():
        grows = spread_finding(found, [3], [1], label, "sd of K-A, two targets / one")
        name = "growth of K-A's sd / growth of A-K's"
        findings.append(joined([grows, spread_finding(found, [3, 0], [1, 2], label, name)]))
    return Judged(findings, arms)
