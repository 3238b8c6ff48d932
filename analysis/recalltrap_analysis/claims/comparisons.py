"""Claims that something is higher: paired differences over a grid, sign flips, Holm.

Thresholds are ours: "almost every" grid point is at least 90 % of them significantly in the
claim's direction and none significantly against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recalltrap.streams import stream
from recalltrap_analysis.claims.pool import Series
from recalltrap_analysis.claims.verdict import Finding, Verdict
from recalltrap_analysis.estimates.severity import flips_for
from recalltrap_analysis.number_format import setting_text
from recalltrap_analysis.statistics.paired import (
    Array,
    Estimate,
    holm,
    mean_interval,
    sign_flip_p_values,
    smallest_p,
)

ALMOST_EVERY = 0.9
SIGNIFICANT = 0.05

Differences = Callable[[Array], Array]
"""From a series' values [A, N] to its differences [K, N]: the claim says all K means are > 0."""


@dataclass(frozen=True)
class DifferenceGrid:
    """Differences at the complete grid points of a stratum, and what was left out."""

    series: tuple[Series, ...]
    differences_KN: tuple[Array, ...]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, series: Sequence[Series], differences: Differences) -> DifferenceGrid:
        complete = tuple(one for one in series if one.state == "complete")
        left_out = tuple(one.state for one in series if one.state != "complete")
        return cls(complete, tuple(differences(one.values_AN) for one in complete), left_out)

    @property
    def points(self) -> frozenset[int]:
        return frozenset().union(*(one.points for one in self.series))

    @property
    def seeds(self) -> int:
        return max((values.shape[1] for values in self.differences_KN), default=0)


def nothing_complete(grid: DifferenceGrid, stratum: str) -> Finding:
    reasons = "; ".join(dict.fromkeys(grid.left_out)) or "no such cells"
    return Finding("not tested", None, f"no complete grid point ({reasons})", stratum)


def p_values(grid: DifferenceGrid) -> Array:
    """Two-sided sign-flip p-values, shape [P points, K differences]."""
    result = np.ones((len(grid.series), grid.differences_KN[0].shape[0]))
    sizes = [values.shape[1] for values in grid.differences_KN]
    generator = stream(0, "analysis/claims")
    for size in sorted({size for size in sizes if size > 1}):
        rows = [row for row, found in enumerate(sizes) if found == size]
        stacked_NS = np.concatenate([grid.differences_KN[row] for row in rows]).T
        p_S = sign_flip_p_values(stacked_NS, generator, flips_for(len(grid.series)))
        result[rows] = p_S.reshape(len(rows), -1)
    return result


def almost_everywhere(grid: DifferenceGrid, stratum: str, name: str) -> Finding:
    """Are all K differences above 0 at almost every grid point?

    A point counts where every difference's mean is above 0 and the largest of their p-values,
    Holm over the grid, is at most 5 %; it counts against where any difference is significantly
    below 0.
    """
    if not grid.series:
        return nothing_complete(grid, stratum)
    p_PK = p_values(grid)
    mean_PK = np.array([values.mean(axis=1) for values in grid.differences_KN])
    points = len(grid.series)
    above = (holm(p_PK.max(axis=1)) <= SIGNIFICANT) & (mean_PK > 0).all(axis=1)
    adjusted_PK = np.stack([holm(p_P) for p_P in p_PK.T], axis=1)
    below = ((adjusted_PK <= SIGNIFICANT) & (mean_PK < 0)).any(axis=1)
    verdict: Verdict = "not reproduced"
    if above.sum() >= ALMOST_EVERY * points and not below.any():
        verdict = "reproduced"
    elif too_few(grid.seeds, points):
        verdict = "not enough seeds"
    effect = mean_over_grid(grid)
    counts = f"above 0 at {int(above.sum())} and below at {int(below.sum())} of {points}"
    detail = f"{counts} grid point{'s' if points > 1 else ''}; {name} {effect.text()}"
    return Finding(verdict, effect, detail + remarks(grid, verdict), stratum, grid.points)


def somewhere(grid: DifferenceGrid, stratum: str, name: str) -> Finding:
    """Are all K differences above 0 at one grid point at least? Holm over the grid."""
    if not grid.series:
        return nothing_complete(grid, stratum)
    p_PK = p_values(grid)
    mean_PK = np.array([values.mean(axis=1) for values in grid.differences_KN])
    above = (holm(p_PK.max(axis=1)) <= SIGNIFICANT) & (mean_PK > 0).all(axis=1)
    points = len(grid.series)
    verdict: Verdict = "not reproduced"
    if above.any():
        verdict = "reproduced"
    elif too_few(grid.seeds, points):
        verdict = "not enough seeds"
    # the point that shows it best: all differences above 0, the first one largest
    best = int(np.argmax(np.where((mean_PK > 0).all(axis=1), 1e6, 0) + mean_PK[:, 0]))
    effect = mean_interval(grid.differences_KN[best][0], stream(0, "analysis/claims/point"))
    label = ", ".join(
        f"{key} {setting_text(value)}" for key, value in grid.series[best].label.items()
    )
    detail = f"at {int(above.sum())} of {points} grid points; {name} {effect.text()} at {label}"
    return Finding(verdict, effect, detail + remarks(grid, verdict), stratum, grid.points)


def mean_over_grid(grid: DifferenceGrid, difference: int = 0) -> Estimate:
    """The mean over seeds of a seed's mean over the grid points, for the seeds they share."""
    shared = set(grid.series[0].seeds).intersection(*(set(one.seeds) for one in grid.series))
    rows = []
    for one, values_KN in zip(grid.series, grid.differences_KN, strict=True):
        keep = [seed in shared for seed in one.seeds]
        rows.append(values_KN[difference, keep])
    if not shared:
        mean = float(np.mean([values[difference].mean() for values in grid.differences_KN]))
        return Estimate(mean, math.nan, math.nan, "no interval: no seed at every point", 0)
    return mean_interval(np.mean(rows, axis=0), stream(0, "analysis/claims/mean"))


def too_few(seeds: int, points: int) -> bool:
    """Whether no outcome of so many pairs could be significant at so many grid points."""
    return least_p(seeds, points) > SIGNIFICANT


def least_p(seeds: int, points: int) -> float:
    return min(1.0, points * smallest_p(seeds, flips_for(points))) if seeds > 1 else 1.0


def seeds_that_do(points: int) -> int:
    """The smallest number of pairs whose best outcome is significant at so many grid points."""
    return next(n for n in range(2, 64) if least_p(n, points) <= SIGNIFICANT)


def remarks(grid: DifferenceGrid, verdict: Verdict) -> str:
    """What was left out, and how many seeds would do."""
    text = ""
    if verdict == "not enough seeds":
        points = len(grid.series)
        text = (
            f"; with {grid.seeds} pairs no outcome could be significant, "
            f"{seeds_that_do(points)} would do"
        )
    if grid.left_out:
        reasons = "; ".join(dict.fromkeys(grid.left_out))
        text += f"; {len(grid.left_out)} grid points left out ({reasons})"
    return text
