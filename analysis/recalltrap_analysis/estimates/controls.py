"""The control orderings beside the two that the order effect compares.

A-K ends with a distillation that sharpens and K-A does not. Only a control tells how much of the
lead is that distillation (`K-A-K`), how much the anchor (`K-A@p'`), and what is left.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.order_effect import (
    COMPLETE,
    estimate_means,
    flips_for,
    spread,
)
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.statistics.paired import Estimate, holm, sign_flip_p_values

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
    generator: np.random.Generator,
) -> dict[tuple[GridPoint, str], Estimate]:
    """Mean attainment with its interval of the complete settings among those named."""
    arms = _arms(attainments)
    groups = {
        (point, name): pd.DataFrame({"attainment": [arms[point, name][seed] for seed in seeds]})
        for (point, name), seeds in design.seeds.items()
        if point in points and name in orderings
        if _complete(design, point, name, arms.get((point, name), {})) == COMPLETE
    }
    means = {"attainment": lambda rows: rows["attainment"]}
    found = estimate_means(groups, means, generator)  # a setting's key stands for a grid point's
    return {(key[0], key[1]): estimates["attainment"] for key, estimates in found.items()}


def contrast_table(
    attainments: pd.DataFrame, design: Design, generator: np.random.Generator
) -> pd.DataFrame:
    """One row per grid point and contrast that the study can make; empty without controls.

    Args:
        attainments: Rows of `cell_attainments`.
        design: What was planned; a contrast that misses a pair is labelled and gets no numbers.
        generator: Source of resamples and sign flips.

    Returns:
        The axes, `point`, `contrast`, `meaning`, `state`, `pairs`, `difference` of attainments
        with `_low` and `_high`, `method`, `p_value`, `p_holm` (over all rows).
    """
    arms = _arms(attainments)
    records: list[dict[str, Any]] = []
    groups: dict[GridPoint, pd.DataFrame] = {}
    for point in design.points:
        for first, second, meaning in CONTRASTS:
            if not {first, second} <= set(design.orderings):
                continue
            record: dict[str, Any] = dict(zip(design.axes, point, strict=True))
            state, rows = _pair(design, point, first, second, arms)
            record |= {"point": point, "contrast": f"{first} − {second}", "meaning": meaning}
            record |= {"state": state, "pairs": len(rows)}
            if state == COMPLETE:
                groups[len(records),] = rows
            records.append(record)
    if not records:
        return pd.DataFrame(columns=[*design.axes, "point", "contrast", "meaning", "state"])
    estimates = estimate_means(groups, {"difference": lambda rows: rows["difference"]}, generator)
    for index, record in enumerate(records):
        record |= spread(estimates.get((index,), {}), ["difference"])
        found = estimates.get((index,), {}).get("difference")
        record["method"] = found.method if found else ""
    return _tested(pd.DataFrame.from_records(records), groups, generator)


def _pair(
    design: Design,
    point: GridPoint,
    first: str,
    second: str,
    arms: dict[tuple[GridPoint, str], dict[int, float]],
) -> tuple[str, pd.DataFrame]:
    empty = pd.DataFrame({"difference": []})
    seeds = design.seeds.get((point, first), ())
    if seeds != design.seeds.get((point, second), ()):
        return "unbalanced: planned with different seeds", empty
    one, two = arms.get((point, first), {}), arms.get((point, second), {})
    for name, arm in ((first, one), (second, two)):
        if (state := _complete(design, point, name, arm)) != COMPLETE:
            return state, empty
    return COMPLETE, pd.DataFrame({"difference": [one[seed] - two[seed] for seed in seeds]})


def _tested(
    table: pd.DataFrame, groups: dict[GridPoint, pd.DataFrame], generator: np.random.Generator
) -> pd.DataFrame:
    p_values: dict[int, float] = {}
    for size in sorted({len(rows) for rows in groups.values() if len(rows) > 1}):
        keys = [key for key, rows in groups.items() if len(rows) == size]
        series = np.stack([groups[key]["difference"].to_numpy(dtype=float) for key in keys], axis=1)
        found = sign_flip_p_values(series, generator, resamples=flips_for(len(groups)))
        p_values |= {key[0]: float(p) for key, p in zip(keys, found, strict=True)}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True)) if p_values else {}
    places = range(len(table))
    table["p_value"] = [p_values.get(place, np.nan) for place in places]
    table["p_holm"] = [float(adjusted.get(place, np.nan)) for place in places]
    return table
