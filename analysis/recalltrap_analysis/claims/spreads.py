"""Claims about spread over seeds: ratios of standard deviations with jackknife intervals.

A spread is larger where the interval lies above 1, and not where it lies below. Spreads are
comparable where the whole interval lies between 1/2 and 2 (a threshold of ours), and not where it
lies outside. Anything else is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from recalltrap_analysis.claims.pool import Series
from recalltrap_analysis.claims.verdict import Finding, Verdict
from recalltrap_analysis.statistics.paired import Estimate, spread_ratio
from recalltrap_analysis.statistics.seeds_needed import seeds_for_width
from recalltrap_analysis.statistics.student import ONE_SIDED

TELLING = 2.0
"""Spreads that differ by this much aren't comparable; seeds should do to tell it from 1."""


def spread_finding(
    series: Sequence[Series],
    above: Sequence[int],
    below: Sequence[int],
    stratum: str,
    name: str,
    comparable: bool = False,
) -> Finding:
    """Is the sd of the arms `above` larger than that of the arms `below`, or comparable to it?

    Args:
        series: The grid points of a stratum; the ratio is their geometric mean.
        above: Positions of the numerators among the arms.
        below: As many positions, of the denominators.
        stratum: Its label.
        name: What the ratio is called.
        comparable: The claim is that the ratio is near 1, not above it.
    """
    used, left_out = _usable(series, (*above, *below))
    if not used:
        reasons = "; ".join(dict.fromkeys(left_out)) or "no such cells"
        if any("three seeds" in reason for reason in left_out):
            detail = f"{reasons}; a spread needs 3, and about 20 to tell 1 from 2"
            return Finding("undecided", None, detail, stratum)
        return Finding("not tested", None, f"no complete grid point ({reasons})", stratum)
    shared = set(used[0].seeds).intersection(*(set(one.seeds) for one in used))
    kept = [one.values_AN[:, [seed in shared for seed in one.seeds]] for one in used]
    arms = [np.stack([values[arm] for values in kept], axis=1) for arm in (*above, *below)]
    points = frozenset().union(*(one.points for one in used))
    try:
        effect = spread_ratio(arms[: len(above)], arms[len(above) :])
    except ValueError as error:
        return Finding("not tested", None, str(error), stratum)
    judged = _at_level(effect, min(one.level for one in used))
    verdict = _near(judged) if comparable else _higher(judged)
    count = f"{len(used)} grid point{'s' if len(used) > 1 else ''}"
    detail = (
        f"{name} {effect.text()}, geometric mean over {count}{_remedy(verdict, effect, comparable)}"
    )
    if left_out:
        detail += f"; {len(left_out)} left out ({'; '.join(dict.fromkeys(left_out))})"
    return Finding(verdict, effect, detail, stratum, points)


def _usable(series: Sequence[Series], arms: Sequence[int]) -> tuple[list[Series], list[str]]:
    used, left_out = [], []
    for one in series:
        if one.state != "complete":
            left_out.append(one.state)
        elif len(one.seeds) < 3:
            left_out.append("fewer than three seeds")
        elif (np.ptp(one.values_AN[list(arms)], axis=1) <= 0).any():
            left_out.append("an arm does not vary over the seeds")
        else:
            used.append(one)
    return used, left_out


def _at_level(ratio: Estimate, level: float) -> Estimate:
    """The ratio with the interval that it is judged by: 95 %, wider where looks share the risk.

    Its logarithm has Student's interval, so that a limit moves by the ratio of two quantiles.
    """
    if math.isnan(ratio.low) or level >= ONE_SIDED or not ratio.low > 0:
        return ratio
    low, high = math.log(ratio.low), math.log(ratio.high)
    wider = float(stdtrit(ratio.n - 1, 1 - level / 2) / stdtrit(ratio.n - 1, 1 - ONE_SIDED / 2))
    middle, half = (low + high) / 2, (high - low) / 2 * wider
    return replace(ratio, low=math.exp(middle - half), high=math.exp(middle + half))


def _higher(ratio: Estimate) -> Verdict:
    if ratio.low > 1:
        return "reproduced"
    return "not reproduced" if ratio.high < 1 else "undecided"


def _near(ratio: Estimate) -> Verdict:
    if ratio.low >= 1 / TELLING and ratio.high <= TELLING:
        return "reproduced"
    if ratio.low > TELLING or ratio.high < 1 / TELLING:
        return "not reproduced"
    return "undecided"


def _remedy(verdict: Verdict, ratio: Estimate, comparable: bool) -> str:
    if verdict != "undecided":
        return ""
    if math.isnan(ratio.low):
        return "; no interval, more seeds are needed"
    half = math.log(TELLING)
    if not comparable and ratio.high < TELLING:
        return "; too near 1 to tell, though below 2"
    if comparable and abs(math.log(ratio.value)) < half:
        half -= abs(math.log(ratio.value))  # the interval must end before 2, wherever it lies
    found = seeds_for_width(ratio, 2 * ratio.value * math.sinh(half))
    if not found.sensible:
        return f"; telling 1 from 2 takes {found.text()} seeds"
    return f"; {found.more_text(ratio.n)} would tell 1 from 2"
