"""Orderings that align p' and hand the alignment over to a student, side by side.

How much of the alignment each keeps, at which recall and for how much, against one of them: the
plain A-K where it ran. Differences are paired by seed, with Student's t intervals. Shapes: N seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.orderings import DISTILL, Ordering
from recalltrap_analysis.estimates.candidates import Spending, known_mean
from recalltrap_analysis.estimates.contrasts import readings_against, unpaired
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD
from recalltrap_analysis.estimates.reward_recall import Curve, reward_recall_curves
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.student import student_interval

LEVELS = {
    "reward": "reward",
    "attainment": "attainment",
    "target_precision": "target_precision",
    "overall_recall": "recall",
}
"""Estimates of every row, and the curves' arrays that they are means of."""
AT_EQUAL_WEIGHT, AT_EQUAL_RECALL = "equal_weight", "equal_recall"
AT_EQUAL_COST, PER_FLOP = "equal_cost", "per_flop"
DIFFERENCES = (AT_EQUAL_WEIGHT, AT_EQUAL_RECALL, AT_EQUAL_COST, PER_FLOP)
RECALL_GAINED = "recall_gained"
COST_DIFFERS = 0.05
"""The share by which costs must differ along an axis for it to be one of cost."""
COST = "flops"


def handovers(orderings: Sequence[Ordering]) -> list[str]:
    """Those that begin with an alignment of p' and end with a student, in the study's order."""
    return [
        ordering.name
        for ordering in orderings
        if ordering.steps[0] != DISTILL and ordering.steps[-1] == DISTILL
    ]


def base_of(names: Sequence[str]) -> str:
    """What the others are compared with: A-K where it ran, else the first."""
    return ALIGN_THEN_KD if ALIGN_THEN_KD in names else names[0]


def handover_table(
    outcomes: pd.DataFrame,
    design: Design,
    names: Sequence[str],
    kl_weight: str | None,
    spending: Spending,
) -> pd.DataFrame:
    """One row per grid point and handover.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        design: What was planned.
        names: The handovers.
        kl_weight: The setting that weighs the KL penalty.
        spending: FLOPs after p', as `spent_after_p_prime` returns them.

    Returns:
        The axes, `point`, `ordering`, `seeds`, `reward`, `attainment`, `target_precision` and
        `overall_recall`, `kept` (attainment minus that of p'_AK), `below_half` (the share of seeds
        that attain less than half), `flops` (after p', mean over seeds), and against the base, each
        with `_low`, `_high` and `_n`: `equal_weight`; `equal_recall` (interpolated, of studies with
        several KL weights); `equal_cost` (read along an axis that changes what a handover costs,
        such as epochs; NaN without one); `per_flop` (its attainment for each of the FLOPs that the
        base takes, minus the base's); `recall_gained` (its recall minus the base's at the same KL
        weight).
    """
    curves = reward_recall_curves(outcomes, design, kl_weight)
    base, records = base_of(names), []
    for stratum in dict.fromkeys(stratum for stratum, _ in curves):
        against = curves.get((stratum, base))
        for name in names:
            curve = curves.get((stratum, name))
            if curve is None:
                continue
            paired = against is not None and not unpaired(curve, against)
            for place, point in enumerate(curve.points):
                record = dict(zip(design.axes, point, strict=True))
                record |= {"point": point, "ordering": name} | _levels(curve, place, spending)
                if against is not None and paired and name != base:
                    record |= _differences(curve, against, place, spending)
                    record |= _at_equal_cost(curves, curve, against, place, design, spending)
                records.append(record)
    differences = (*DIFFERENCES, RECALL_GAINED)
    names_of = [f"{name}{end}" for name in differences for end in ("", "_low", "_high", "_n")]
    return pd.DataFrame.from_records(records).reindex(
        columns=[*design.axes, "point", "ordering", "seeds", *_with_bounds((*LEVELS, "kept")),
                 "below_half", "flops", *names_of]
    )  # fmt: skip


def over_weights(
    outcomes: pd.DataFrame,
    design: Design,
    names: Sequence[str],
    kl_weight: str | None,
    spending: Spending,
) -> Iterator[tuple[GridPoint, str, dict[str, Array]]]:
    """Per stratum and handover but the base the differences from it, seed by seed [N], each the
    mean over the KL weights; see `handover_table`."""
    curves = reward_recall_curves(outcomes, design, kl_weight)
    base = base_of(names)
    for (stratum, name), curve in curves.items():
        against = curves.get((stratum, base))
        if name == base or name not in names or against is None or unpaired(curve, against):
            continue
        places = range(len(curve.points))
        found = [_of_seeds(curve, against, place, spending) for place in places]
        yield (
            stratum,
            name,
            {kind: known_mean(np.stack([one[kind] for one in found], axis=1)) for kind in found[0]},
        )


def _levels(curve: Curve, place: int, spending: Spending) -> dict[str, Any]:
    found: dict[str, Any] = {"seeds": len(curve.seeds)}
    for name, array in LEVELS.items():
        found |= _interval(name, getattr(curve, array)[:, place])
    attained_N = curve.attainment[:, place]
    found |= _interval("kept", attained_N - curve.attainment_p_prime_aligned[:, place])
    known_N = np.isfinite(attained_N)
    found["below_half"] = float((attained_N[known_N] < 0.5).mean()) if known_N.any() else np.nan
    found["flops"] = float(np.mean(_costs(curve, place, spending)))
    return found


def _differences(curve: Curve, against: Curve, place: int, spending: Spending) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, values_N in _of_seeds(curve, against, place, spending).items():
        found |= _interval(name, values_N, counted=True)
    return found


def _of_seeds(curve: Curve, against: Curve, place: int, spending: Spending) -> dict[str, Array]:
    own_N, theirs_N = curve.attainment[:, place], against.attainment[:, place]
    spent_N, base_N = (_costs(one, place, spending) for one in (curve, against))
    found = {AT_EQUAL_WEIGHT: own_N - theirs_N, PER_FLOP: own_N * base_N / spent_N - theirs_N}
    found[RECALL_GAINED] = curve.recall[:, place] - against.recall[:, place]
    none_N = np.full(len(own_N), np.nan)
    curved = len(curve.points) > 1
    found[AT_EQUAL_RECALL] = (
        readings_against(curve, against).interpolated[:, place] if curved else none_N
    )
    return found


def _at_equal_cost(
    curves: Mapping[tuple[GridPoint, str], Curve],
    curve: Curve,
    against: Curve,
    place: int,
    design: Design,
    spending: Spending,
) -> dict[str, float]:
    """The handover read where it costs what the base costs at this point, seed by seed; nothing
    where no axis changes its cost, or none of its values brings it there."""
    point = curve.points[place]
    family = _cost_family(curves, curve, point, design, spending)
    budget = float(np.mean(_costs(against, place, spending)))
    if family is None or not np.isfinite(budget):
        return {}
    costs, values_NF = family
    if not costs[0] <= budget <= costs[-1]:
        return {}
    own_N = np.array([np.interp(np.log(budget), np.log(costs), row) for row in values_NF])
    return _interval(AT_EQUAL_COST, own_N - against.attainment[:, place], counted=True)


def _cost_family(
    curves: Mapping[tuple[GridPoint, str], Curve],
    curve: Curve,
    point: GridPoint,
    design: Design,
    spending: Spending,
) -> tuple[Array, Array] | None:
    """Along the first axis that changes what the ordering costs: costs [F], rising, and attainment
    [N, F] at the points that differ from this one in that axis alone."""
    others = [one for (_, name), one in curves.items() if name == curve.ordering]
    for axis in range(len(design.axes)):
        found = []
        for one in others:
            for place, other in enumerate(one.points):
                same = other[:axis] + other[axis + 1 :] == point[:axis] + point[axis + 1 :]
                if same and one.seeds == curve.seeds:
                    cost = float(np.mean(_costs(one, place, spending)))
                    found.append((cost, one.attainment[:, place]))
        found.sort(key=lambda pair: pair[0])
        costs = np.array([cost for cost, _ in found])
        known = len(costs) > 1 and np.isfinite(costs).all() and costs[0] > 0
        if known and (np.diff(costs) > COST_DIFFERS * costs[:-1]).all():
            return costs, np.stack([values_N for _, values_N in found], axis=1)
    return None


def _costs(curve: Curve, place: int, spending: Spending) -> Array:
    """FLOPs after p' of every seed [N]; NaN where they aren't known."""
    point = curve.points[place]
    return np.array(
        [spending.get((COST, point, curve.ordering, seed), np.nan) for seed in curve.seeds]
    )


def _interval(name: str, values_N: Array, *, counted: bool = False) -> dict[str, float]:
    known_N = values_N[np.isfinite(values_N)]
    if not len(known_N):
        return {}
    found = student_interval(known_N)
    record = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return record | ({f"{name}_n": float(found.n)} if counted else {})


def _with_bounds(names: Sequence[str]) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
