"""The control orderings beside the two that the order effect compares.

A-K ends with a distillation that sharpens and K-A does not. Only a control tells how much of the
lead is that distillation (`K-A-K`), how much the anchor (`K-A@p'`), and what is left.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.order_effect import COMPLETE, spread
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.statistics.paired import Estimate
from recalltrap_analysis.statistics.student import student_interval

CONTRASTS: tuple[tuple[str, str, str], ...] = (
    ("K-A-K", "K-A", "a last distillation alone: sharpening, not the ordering"),
    ("A-K", "K-A-K", "the ordering, both sides ending with a distillation"),
    ("K-A@p'", "K-A", "the anchor p' alone, in a compact policy"),
    ("A-K", "K-A@p'", "the lead of A-K where both are anchored to p'"),
    ("A-K", "A", "what distilling does to the aligned p'"),
)
"""Minuend, subtrahend, and what their difference measures."""


def _arms(attainments: pd.DataFrame) -> dict[tuple[GridPoint, str], dict[int, float]]:
    arms: dict[tuple[GridPoint, str], dict[int, float]] = {}
    columns = (attainments[name] for name in ("point", "ordering", "seed", "attainment"))
    for point, ordering, seed, value in zip(*columns, strict=True):
        arms.setdefault((point, ordering), {})[int(seed)] = float(value)
    return arms


def _complete(design: Design, point: GridPoint, name: str, arm: dict[int, float]) -> str:
    planned = design.seeds.get((point, name), ())
    if lacking := len(set(planned) - set(arm)):
        return f"incomplete: {lacking} of {len(planned)} seeds of {name} missing"
    if not np.isfinite([arm[seed] for seed in planned]).all():
        return f"not finite: {name}"
    return COMPLETE


def ordering_attainments(
    attainments: pd.DataFrame,
    design: Design,
    points: Collection[GridPoint],
    orderings: Collection[str],
) -> dict[tuple[GridPoint, str], Estimate]:
    """Mean attainment with its interval of the complete settings among those named."""
    arms = _arms(attainments)
    return {
        (point, name): student_interval([arms[point, name][seed] for seed in seeds])
        for (point, name), seeds in design.seeds.items()
        if point in points and name in orderings
        if _complete(design, point, name, arms.get((point, name), {})) == COMPLETE
    }


def contrast_table(attainments: pd.DataFrame, design: Design) -> pd.DataFrame:
    """One row per grid point and contrast that the study can make; empty without controls.

    Args:
        attainments: Rows of `cell_attainments`.
        design: What was planned; a contrast that misses a pair is labelled and gets no numbers.

    Returns:
        The axes, `point`, `contrast`, `meaning`, `state`, `pairs`, `difference` of attainments
        with `_low` and `_high`, and `method`.
    """
    arms = _arms(attainments)
    records: list[dict[str, Any]] = []
    for point in design.points:
        for first, second, meaning in CONTRASTS:
            if not {first, second} <= set(design.orderings):
                continue
            record: dict[str, Any] = dict(zip(design.axes, point, strict=True))
            state, values = _pair(design, point, first, second, arms)
            record |= {"point": point, "contrast": f"{first} − {second}", "meaning": meaning}
            found = {"difference": student_interval(values)} if state == COMPLETE else {}
            record |= {"state": state, "pairs": len(values)} | spread(found, ["difference"])
            record["method"] = found["difference"].method if found else ""
            records.append(record)
    if not records:
        return pd.DataFrame(columns=[*design.axes, "point", "contrast", "meaning", "state"])
    return pd.DataFrame.from_records(records)


def _pair(
    design: Design,
    point: GridPoint,
    first: str,
    second: str,
    arms: dict[tuple[GridPoint, str], dict[int, float]],
) -> tuple[str, list[float]]:
    """`complete` with the differences per seed, or why there are none."""
    seeds = design.seeds.get((point, first), ())
    if seeds != design.seeds.get((point, second), ()):
        return "unbalanced: planned with different seeds", []
    one, two = arms.get((point, first), {}), arms.get((point, second), {})
    for name, arm in ((first, one), (second, two)):
        if (state := _complete(design, point, name, arm)) != COMPLETE:
            return state, []
    return COMPLETE, [one[seed] - two[seed] for seed in seeds]
