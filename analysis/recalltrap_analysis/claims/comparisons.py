"""Claims that something is higher: paired differences over a grid, judged on a margin.

Bounds are one-sided, Student's t, 5 %. Nothing here depends on how fine the grid is: a statement
about *some* grid point uses a bound that holds at all of them together, and neighbouring points,
which share their seeds, cost it next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from recalltrap.streams import stream
from recalltrap_analysis.claims.pool import Series
from recalltrap_analysis.claims.verdict import Finding, Verdict
from recalltrap_analysis.number_format import setting_text
from recalltrap_analysis.statistics.margin import MARGIN, SMALL_FROM
from recalltrap_analysis.statistics.paired import Array, Estimate
from recalltrap_analysis.statistics.power import seeds_needed
from recalltrap_analysis.statistics.student import ONE_SIDED, student_interval

DRAWS = 4000

Differences = Callable[[Array], Array]
"""From a series' values [A, N] to its differences [K, N]: the claim says all K are larger."""
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DifferenceGrid:
    """Differences at the complete grid points of a stratum, and what was left out.

    `margins` has one number for each of the K differences.
    """

    series: tuple[Series, ...]
    differences_KN: tuple[Array, ...]
    left_out: tuple[str, ...]
    margins: tuple[float, ...] = (MARGIN,)

    @classmethod
    def of(
        cls,
        series: Sequence[Series],
        differences: Differences,
        margins: Sequence[float] = (MARGIN,),
    ) -> DifferenceGrid:
        complete = tuple(one for one in series if one.state == "complete")
        left_out = tuple(one.state for one in series if one.state != "complete")
        found = tuple(differences(one.values_AN) for one in complete)
        return cls(complete, found, left_out, tuple(margins))

    @property
    def points(self) -> frozenset[int]:
        return frozenset().union(*(one.points for one in self.series))

    @property
    def level(self) -> float:
        """The one-sided level of every bound: the strictest of its grid points."""
        return min((one.level for one in self.series), default=ONE_SIDED)

    @property
    def seeds(self) -> int:
        return max((values.shape[1] for values in self.differences_KN), default=0)


@dataclass(frozen=True)
class Points:
    """What the bounds say at each of P grid points. A claim needs all of its K differences.

    `beyond`: all K are beyond their margins. `below`: one of them is below minus its margin. Both
    hold at all points together, each at 5 %; the others are each point's own. `doubtful`: one looks
    below minus its margin. `excluded`: one is under its margin, so the claim can't hold there; with
    fewer than 8 seeds it has to be below minus it: they may miss a mode that is rare.
    """

    beyond: BoolArray
    below: BoolArray
    doubtful: BoolArray
    excluded: BoolArray


def points_of(grid: DifferenceGrid) -> Points:
    """Where differences are beyond, below and under their margins; all False with one seed."""
    count, k = len(grid.series), grid.differences_KN[0].shape[0]
    beyond, below, doubtful, excluded = (np.zeros((count, k), dtype=bool) for _ in range(4))
    margins_K = np.broadcast_to(np.asarray(grid.margins), (k,))
    by_seeds: dict[tuple[int, ...], list[int]] = {}
    for row, one in enumerate(grid.series):
        by_seeds.setdefault(one.seeds, []).append(row)
    for seeds, rows in by_seeds.items():
        n = len(seeds)
        if n < 2:
            continue
        values_NPK = np.stack([grid.differences_KN[row] for row in rows]).transpose(2, 0, 1)
        mean_PK = values_NPK.mean(axis=0)
        error_PK = values_NPK.std(axis=0, ddof=1) / np.sqrt(n)
        # points with other seeds are other draws: they share the 5 %
        together_K = np.array(
            [critical_t(values_NPK[:, :, i], grid.level / len(by_seeds)) for i in range(k)]
        )
        own, alone = stdtrit(n - 1, [1 - grid.level, 1 - grid.level / k])
        beyond[rows] = mean_PK - together_K * error_PK > margins_K
        below[rows] = mean_PK + together_K * error_PK < -margins_K
        doubtful[rows] = mean_PK + own * error_PK < -margins_K
        excluded[rows] = mean_PK + alone * error_PK < _ruled_out(margins_K, n)
    any_K = (np.asarray(found.any(axis=1)) for found in (below, doubtful, excluded))
    return Points(np.asarray(beyond.all(axis=1)), *any_K)


def critical_t(values_NP: Array, level: float) -> float:
    """What the largest t of P correlated means exceeds by chance in a share `level`, one-sided.

    The quantile of the largest coordinate of a multivariate t whose correlations are the sample's
    (Hothorn, Bretz & Westfall 2008): Student's for one point, and for points that repeat each
    other. Below 8 seeds the correlations are too poor a guess and Bonferroni's stands in.
    """
    n, points = values_NP.shape
    alone = float(stdtrit(n - 1, 1 - level))
    centred_NP = values_NP - values_NP.mean(axis=0)
    length_P = np.sqrt((centred_NP**2).sum(axis=0))
    centred_NP, length_P = centred_NP[:, length_P > 0], length_P[length_P > 0]
    if centred_NP.shape[1] < 2:
        return alone
    if n < SMALL_FROM:
        return float(stdtrit(n - 1, 1 - level / points))
    normal_BN, error_B = _draws(n)
    t_B = (normal_BN @ (centred_NP / length_P)).max(axis=1) / error_B
    return max(alone, float(np.quantile(t_B, 1 - level)))


@lru_cache(maxsize=64)
def _draws(n: int) -> tuple[Array, Array]:
    """Normal draws [DRAWS, N], and as many errors of their estimated sd; the same in every call."""
    generator = stream(0, f"analysis/claims/{n}")
    normal_BN = generator.normal(size=(DRAWS, n))
    return normal_BN, np.sqrt(generator.chisquare(n - 1, size=DRAWS) / (n - 1))


def verdict_of(
    beyond: bool,
    excluded: bool,
    below: bool = False,
    doubtful: bool = False,
    rise: tuple[float, float] | None = None,
) -> Verdict:
    """The rule of every claim that something is higher.

    Args:
        beyond: The difference is beyond the margin (somewhere, or on average).
        excluded: Its upper bound is under the margin (everywhere, or on average).
        below: Somewhere it is below minus the margin.
        doubtful: Somewhere it is, if one looks at that grid point alone.
        rise: The slope's interval, of a claim that says that the difference rises; infinite where
            nothing is known of it.
    """
    if excluded or (below and not beyond):
        return "not reproduced"
    if beyond and (below or (rise is not None and rise[1] < 0)):
        return "mixed"  # one part of the claim holds, an interval excludes another
    holds = beyond and not doubtful and (rise is None or rise[0] > 0)
    return "reproduced" if holds else "undecided"


def rising(grid: DifferenceGrid, stratum: str, name: str, weight: str | None) -> Finding:
    """Is the difference beyond the margin somewhere, does it rise, and is it nowhere below?

    Args:
        grid: The differences; a claim that rises is about the first.
        stratum: Its label.
        name: What the difference is called.
        weight: The setting along which it is to rise.
    """
    if not grid.series:
        return nothing_complete(grid, stratum)
    points = points_of(grid)
    slope = slope_along(grid, weight)
    known = slope is not None and not np.isnan(slope.low)
    interval = (-np.inf, np.inf)
    if slope is not None and known:  # 95 %, or what the looks leave of it
        interval = (bound(slope, -1, grid.level / 2), bound(slope, 1, grid.level / 2))
    verdict = verdict_of(
        bool(points.beyond.any()),
        bool(points.excluded.all()),
        bool(points.below.any()),
        bool(points.doubtful.any()),
        interval,
    )
    effect, where = largest(grid)
    said = f"a single {weight or 'weight'} shows no rise"
    if slope is not None:
        said = f"changes by {slope.text()} per doubling of {weight}"
    detail = f"{shares(points)}; {name} {effect.text()}{where}; {said}"
    return _finding(grid, verdict, effect, detail, stratum)


def somewhere(grid: DifferenceGrid, stratum: str, name: str) -> Finding:
    """Are all K differences beyond their margins at one grid point at least?"""
    if not grid.series:
        return nothing_complete(grid, stratum)
    points = points_of(grid)
    verdict = verdict_of(bool(points.beyond.any()), bool(points.excluded.all()))
    effect, where = largest(grid)
    detail = f"{shares(points)}; {name} {effect.text()}{where}"
    return _finding(grid, verdict, effect, detail, stratum)


def on_average(grid: DifferenceGrid, stratum: str, name: str) -> Finding:
    """Are all K differences beyond their margins on the grid's mean, and nowhere below them?"""
    if not grid.series:
        return nothing_complete(grid, stratum)
    points = points_of(grid)
    means = [mean_over_grid(grid, i) for i in range(grid.differences_KN[0].shape[0])]
    margins = np.broadcast_to(np.asarray(grid.margins), (len(means),))
    pairs = list(zip(means, margins, strict=True))
    level = grid.level
    beyond = all(bound(mean, -1, level) > margin for mean, margin in pairs)
    excluded = any(
        bound(mean, 1, level / len(means)) < _ruled_out(margin, mean.n) for mean, margin in pairs
    )
    below, doubtful = bool(points.below.any()), bool(points.doubtful.any())
    verdict = verdict_of(beyond, excluded, below, doubtful)
    detail = f"{shares(points)}; {name} {means[0].text()}"
    if len(grid.series) > 1:
        detail += ", mean over them"
    # the part that the verdict hangs on: the nearest to its margin, or the furthest under it
    hangs = min(pairs, key=lambda pair: pair[0].value - pair[1])
    return _finding(grid, verdict, means[0], detail, stratum, hangs)


def _ruled_out(margin: Array | float, n: int) -> Array | float:
    """What an upper bound must lie under for a claim to be excluded."""
    return margin if n >= SMALL_FROM else -margin


def bound(mean: Estimate, side: int, level: float = ONE_SIDED) -> float:
    """A mean's lower (side -1) or upper (1) one-sided bound; infinite without an interval."""
    if np.isnan(mean.low):
        return side * np.inf
    error = (mean.high - mean.low) / 2 / stdtrit(mean.n - 1, 0.975)
    return float(mean.value + side * stdtrit(mean.n - 1, 1 - level) * error)


def mean_over_grid(grid: DifferenceGrid, difference: int = 0) -> Estimate:
    """The mean over seeds of a seed's mean over the grid points, for the seeds they share."""
    shared = _shared(grid.series)
    if not shared:
        mean = float(np.mean([values[difference].mean() for values in grid.differences_KN]))
        return Estimate(mean, np.nan, np.nan, "no interval: no seed at every point", 0)
    rows = [
        values_KN[difference, [seed in shared for seed in one.seeds]]
        for one, values_KN in zip(grid.series, grid.differences_KN, strict=True)
    ]
    return student_interval(np.mean(rows, axis=0))


def slope_along(grid: DifferenceGrid, weight: str | None) -> Estimate | None:
    """How much the first difference gains per doubling of a setting, over the shared seeds.

    Least squares in log2, within grid points that differ in the setting alone; the mean of such
    groups. None where no two points differ in it (a weight of 0 has no logarithm).
    """
    groups: dict[tuple[tuple[str, object], ...], list[int]] = {}
    for row, one in enumerate(grid.series):
        if weight is not None and (one.label.get(weight) or 0) > 0:
            rest = tuple((key, value) for key, value in one.label.items() if key != weight)
            groups.setdefault(rest, []).append(row)
    groups = {rest: rows for rest, rows in groups.items() if len(rows) > 1}
    shared = _shared([grid.series[row] for rows in groups.values() for row in rows])
    if not shared:
        return None
    slopes = []
    for rows in groups.values():
        x_P = np.log2([float(grid.series[row].label[weight or ""]) for row in rows])
        x_P = x_P - x_P.mean()
        kept_PN = np.stack([
            grid.differences_KN[row][0, [seed in shared for seed in grid.series[row].seeds]]
            for row in rows
        ])  # fmt: skip
        slopes.append(x_P @ kept_PN / (x_P @ x_P))
    return student_interval(np.mean(slopes, axis=0))


def largest(grid: DifferenceGrid) -> tuple[Estimate, str]:
    """The first difference where it is largest (of several: where the least of them is largest)."""
    margins_K = np.asarray(grid.margins)
    least = [(values.mean(axis=1) - margins_K).min() for values in grid.differences_KN]
    best = int(np.argmax(least))
    label = ", ".join(
        f"{key} {setting_text(value)}" for key, value in grid.series[best].label.items()
    )
    where = f" where it is largest, at {label}" if label and len(grid.series) > 1 else ""
    return student_interval(grid.differences_KN[best][0]), where


def shares(points: Points) -> str:
    """The share of points, which is shown and decides nothing."""
    count = len(points.beyond)
    return (
        f"beyond the margin at {int(points.beyond.sum())} and below minus it at "
        f"{int(points.below.sum())} of {count} grid point{'s' if count > 1 else ''}"
    )


def nothing_complete(grid: DifferenceGrid, stratum: str) -> Finding:
    reasons = "; ".join(dict.fromkeys(grid.left_out)) or "no such cells"
    return Finding("not tested", None, f"no complete grid point ({reasons})", stratum)


def _shared(series: Sequence[Series]) -> set[int]:
    return set.intersection(*(set(one.seeds) for one in series)) if series else set()


def _finding(
    grid: DifferenceGrid,
    verdict: Verdict,
    effect: Estimate,
    detail: str,
    stratum: str,
    hangs: tuple[Estimate, float] | None = None,
) -> Finding:
    """With what would decide it, and what was left out."""
    if verdict == "undecided":
        detail += remedy(*(hangs or (effect, grid.margins[0])))
    if grid.left_out:
        reasons = "; ".join(dict.fromkeys(grid.left_out))
        detail += f"; {len(grid.left_out)} grid points left out ({reasons})"
    return Finding(verdict, effect, detail, stratum, grid.points)


def remedy(effect: Estimate, margin: float) -> str:
    """How many seeds would tell a difference from its margin, were it what it is now."""
    if np.isnan(effect.low):
        return f"; {effect.method}, two seeds at least are needed"
    distance = abs(effect.value - margin)
    if bound(effect, -1) > margin or bound(effect, 1) < margin or distance == 0:
        return ""  # something else is open: the rise, or another grid point
    sd = (effect.high - effect.low) / 2 / float(stdtrit(effect.n - 1, 0.975)) * effect.n**0.5
    least = 2 if effect.value > margin else SMALL_FROM
    found = seeds_needed(effect.value, sd, effect.n, margin, least=least)
    if not found.sensible:
        return f"; too near the margin: it {found.more_text(effect.n)}"
    return f"; {found.more_text(effect.n)} would tell it from the margin"
