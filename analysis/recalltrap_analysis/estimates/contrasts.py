"""Two orderings compared fairly: at equal KL weight, at equal recall, within a recall budget.

At equal KL weight a comparison explains and doesn't decide: the weight is the user's free knob and
binds differently under each anchor. Differences are paired by seed, in attainment (target
precision in nats), with Student's t intervals, two-way where the prompts' rewards are known.
Shapes: N seeds, W KL weights (V of the other ordering), P prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from recalltrap.orderings import Ordering, aligns
from recalltrap_analysis.estimates.order_effect import COMPLETE, KD_THEN_ALIGN
from recalltrap_analysis.estimates.reward_recall import (
    AtEqualRecall,
    Curve,
    at_equal_recall,
    best_within,
    other_axes,
    prompts_at,
    reward_recall_curves,
)
from recalltrap_analysis.number_format import setting_text
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.statistics.paired import Array, Estimate
from recalltrap_analysis.statistics.student import student_interval
from recalltrap_analysis.statistics.two_way import two_way_mean, two_way_possible

Contrast: TypeAlias = tuple[str, str]
"""Two orderings; differences are the first minus the second."""

EQUAL_KL_WEIGHT = "equal KL weight"
EQUAL_RECALL = "equal recall"
BEST_GRID_POINT = "best grid point with no worse recall"
WITHIN_BUDGET = "recall budget"
COMPARISONS = (EQUAL_KL_WEIGHT, EQUAL_RECALL, BEST_GRID_POINT, WITHIN_BUDGET)
DIFFERENCE = "difference"
"""The part that is the whole; `estimates.experiment` has the others."""


def default_contrasts(orderings: Sequence[Ordering]) -> list[Contrast]:
    """Every ordering that aligns against K-A, in the study's order; none without K-A."""
    if KD_THEN_ALIGN not in {ordering.name for ordering in orderings}:
        return []
    return [
        (ordering.name, KD_THEN_ALIGN)
        for ordering in orderings
        if ordering.name != KD_THEN_ALIGN and aligns(ordering)
    ]


def contrast_name(contrast: Contrast) -> str:
    """E.g. ``A-K − K-A``."""
    return f"{contrast[0]} − {contrast[1]}"


def fair_comparisons(
    outcomes: pd.DataFrame,
    design: Design,
    kl_weight: str | None,
    contrasts: Sequence[Contrast],
    recall_budget: float,
) -> pd.DataFrame:
    """Every contrast in every stratum, one row per comparison and point.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        design: What was planned.
        kl_weight: The setting that weighs the KL penalty.
        contrasts: The orderings to compare.
        recall_budget: Nats below the recall of p' that a model may lose, seed by seed.

    Returns:
        `contrast`, `part` (`difference`), `comparison`, `metric`, the axes (the KL weight None
        within the budget, where each ordering has its own), `point` (None there), `value` with
        `low` and `high` (95 %), `method`, `freedom` (degrees of it), `n` seeds behind it of `seeds`
        planned, `dominated` (seeds in which some point of the second ordering is better in reward
        and recall), `note` and `state`: `complete`, or why there are no numbers. With one KL weight
        there is only the comparison at equal weight.
    """
    curves = reward_recall_curves(outcomes, design, kl_weight)
    strata = list(dict.fromkeys(stratum for stratum, _ in curves))
    records: list[dict[str, Any]] = []
    for contrast in contrasts:
        for stratum in strata:
            pair = [curves.get((stratum, name)) for name in contrast]
            first, second = pair
            if first is None or second is None:
                continue
            records += _compared(first, second, design, kl_weight, recall_budget)
    table = pd.DataFrame.from_records(records, columns=_columns(design))
    counts = [record["dominated"] for record in records]  # as floats they would read 3.0, and nan
    return table.assign(dominated=pd.Series(counts, dtype=object))


def _columns(design: Design) -> list[str]:
    return ["contrast", "part", "comparison", "metric", *design.axes, "point", "value", "low",
            "high", "method", "freedom", "n", "seeds", "dominated", "note", "state"]  # fmt: skip


def _compared(
    first: Curve, second: Curve, design: Design, kl_weight: str | None, recall_budget: float
) -> list[dict[str, Any]]:
    base = {
        "contrast": contrast_name((first.ordering, second.ordering)),
        "part": DIFFERENCE,
        "metric": "attainment",
        "seeds": len(first.seeds),
        "dominated": None,
        "note": "",
    }

    def at_point(point: GridPoint) -> dict[str, Any]:
        return base | dict(zip(design.axes, point, strict=True)) | {"point": point}

    shared = unpaired(first, second)
    records = []
    for place, point in enumerate(first.points):
        for metric in ("attainment", "target_precision"):
            values = None if shared else _paired(first, second, place, metric)
            if metric == "target_precision" and values is None:
                continue  # a kind may have none; what has none at all is said by the attainment
            record = at_point(point) | {"comparison": EQUAL_KL_WEIGHT, "metric": metric}
            record |= _numbers(values, shared or _lacking(first, second, place))
            if metric == "attainment" and values is not None:
                record |= _over_prompts((first.by_prompt - second.by_prompt)[:, place])
            records.append(record)
    if len(first.points) < 2:
        return records
    whole = shared or _lacking(first, second)
    against = None if whole else readings_against(first, second)
    for place, point in enumerate(first.points):
        for name, reading in READINGS.items():
            record = at_point(point) | {"comparison": name}
            if against is None:
                records.append(record | _numbers(None, whole))
                continue
            values_NW, share_NWV = reading(against)
            record |= _numbers(values_NW[:, place], whole)
            record |= _over_prompts(
                reading_by_prompt(first, second, values_NW, share_NWV)[:, place],
                values_NW[:, place],
            )
            record["dominated"] = int(against.dominated[:, place].sum())
            records.append(record)
    stratum = dict(zip(other_axes(design, kl_weight), first.stratum, strict=True))
    budget = base | stratum | {"point": None, "comparison": WITHIN_BUDGET}
    if kl_weight is not None:
        budget[kl_weight] = None
    return [*records, budget | _within_budget(first, second, recall_budget, whole)]


READINGS: Mapping[str, Callable[[AtEqualRecall], tuple[Array, Array]]] = {
    EQUAL_RECALL: lambda found: (found.interpolated, found.interpolated_share),
    BEST_GRID_POINT: lambda found: (found.grid, found.grid_share),
}
"""The differences, and the shares of the other's points that stand against each point."""


def unpaired(first: Curve, second: Curve) -> str:
    """Why two orderings are no pairs anywhere in a stratum; empty where they are."""
    if first.seeds != second.seeds or first.points != second.points:
        return "unbalanced: the orderings were planned with different seeds"
    apart = np.abs(first.start - second.start) > 1e-5  # NaN is not apart
    return "not comparable: the orderings do not share p''" if apart.any() else ""


def _paired(first: Curve, second: Curve, place: int, metric: str) -> Array | None:
    difference_N = (getattr(first, metric) - getattr(second, metric))[:, place]
    return difference_N if np.isfinite(difference_N).all() else None


def reading_by_prompt(first: Curve, second: Curve, values_NW: Array, share_NWV: Array) -> Array:
    """A reading's differences at every prompt; shape [N, W, P], NaN where it has no value.

    A reading takes shares of the second's points, by their mean rewards and recalls, so it is
    linear in the prompts' rewards. Recalls are taken as they were measured: no table has them by
    prompt.
    """
    against_NWP = np.einsum("nwv,nvp->nwp", share_NWV, second.by_prompt)
    known_NW1 = np.isfinite(values_NW)[:, :, None]
    return np.where(known_NW1, first.by_prompt - against_NWP, np.nan)


def _over_prompts(difference_NP: Array, values_N: Array | None = None) -> dict[str, Any]:
    """The interval over seeds × prompts, where the prompts' rewards are known.

    With `values_N` of the seeds alone that have a value.
    """
    if values_N is not None:
        difference_NP = difference_NP[np.isfinite(values_N)]
    if not two_way_possible(difference_NP):
        return {}
    mean = two_way_mean(difference_NP)
    found = mean.interval()
    return {"value": found.value, "low": found.low, "high": found.high, "method": found.method,
            "freedom": mean.freedom}  # fmt: skip


def _lacking(first: Curve, second: Curve, place: int | None = None) -> str:
    """What a comparison lacks at one weight, or on the whole curves; empty where it is whole."""
    values = [first.attainment, second.attainment]
    if place is None:
        values += [first.recall, second.recall]
    known_NW = np.logical_and.reduce([np.isfinite(value) for value in values])
    known_N = known_NW.all(axis=1) if place is None else known_NW[:, place]
    if known_N.all():
        return ""
    what = "lack a part of the curves" if place is None else "have no value of both orderings"
    return f"incomplete: {int((~known_N).sum())} of {len(known_N)} seeds {what}"


def readings_against(first: Curve, second: Curve) -> AtEqualRecall:
    """All seeds' points of the first ordering against the second's curves; arrays [N, W]."""
    found = [
        at_equal_recall(*rows)
        for rows in zip(
            first.attainment, first.recall, second.attainment, second.recall, strict=True
        )
    ]
    return AtEqualRecall(
        np.stack([one.interpolated for one in found]),
        np.stack([one.grid for one in found]),
        np.stack([one.dominated for one in found]),
        np.stack([one.interpolated_share for one in found]),
        np.stack([one.grid_share for one in found]),
    )


def dominated_share(first: Curve, second: Curve) -> Array:
    """Share of seeds in which the second ordering dominates each point of the first; shape [W].

    NaN where the two are no pairs, or a curve isn't whole.
    """
    if unpaired(first, second) or _lacking(first, second):
        return np.full(len(first.points), np.nan)
    return np.asarray(readings_against(first, second).dominated.mean(axis=0), dtype=float)


def _within_budget(first: Curve, second: Curve, budget: float, lacks: str) -> dict[str, Any]:
    least_N = first.recall_p_prime.mean(axis=1) - budget
    if not lacks and not np.isfinite(least_N).all():
        lacks = "no recall of p' in some seeds"
    if lacks:
        return _numbers(None, lacks)
    (one_N, place_one), (two_N, place_two) = (
        best_within(curve.attainment, curve.recall, least_N) for curve in (first, second)
    )
    numbers = _numbers(one_N - two_N, "")
    one_NP, two_NP = prompts_at(first.by_prompt, place_one), prompts_at(second.by_prompt, place_two)
    numbers |= _over_prompts(one_NP - two_NP, one_N - two_N)
    if numbers["state"] != COMPLETE:
        numbers["state"] = "no seed has both orderings within it"
    kept = (_own_weight(first, one_N, place_one), _own_weight(second, two_N, place_two))
    numbers["note"] = "; ".join(kept)
    return numbers


def _own_weight(curve: Curve, best_N: Array, place_N: npt.NDArray[np.int64]) -> str:
    """In how many seeds an ordering has a model within the budget, and at which weight."""
    has = np.isfinite(best_N)
    text = f"{curve.ordering} within it in {int(has.sum())} of {len(has)} seeds"
    if has.any():
        chosen = sorted(curve.weights[int(place)] for place in place_N[has])
        text += f", median weight {setting_text(chosen[len(chosen) // 2])}"
    return text


def _numbers(values_N: Array | None, lacks: str) -> dict[str, Any]:
    """A row's estimate over the seeds that have a value, or why it has none."""
    known = np.zeros(0) if values_N is None else values_N[np.isfinite(values_N)]
    state = lacks or (COMPLETE if len(known) else "no seed has anything to compare with")
    found = student_interval(known) if len(known) else Estimate(np.nan, np.nan, np.nan, "", 0)
    return {"value": found.value, "low": found.low, "high": found.high, "method": found.method,
            "n": found.n, "state": state, "freedom": found.n - 1.0}  # fmt: skip
