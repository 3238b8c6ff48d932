"""Where the order effect comes from: waterfalls at the largest, bars over the grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates import decomposition, experiment
from recalltrap_analysis.estimates.attainment import (
    ATTAINMENT,
    axis_title,
    cell_attainments,
    level_title,
    unit_phrase,
)
from recalltrap_analysis.estimates.controls import ordering_attainments
from recalltrap_analysis.estimates.order_effect import (
    ALIGN_THEN_KD,
    ANCHORED_TO_P_PRIME,
    COMPLETE,
    KD_THEN_ALIGN,
)
from recalltrap_analysis.figures.decomposition import (
    Range,
    Waterfall,
    decomposition_bars,
    waterfalls,
)
from recalltrap_analysis.number_format import (
    decimal_text,
    point_lines,
    point_text,
    range_text,
    signed_text,
)
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import deepest
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import GridPoint
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import rows_of
from recalltrap_analysis.statistics.paired import Estimate
from recalltrap_analysis.verdicts.summary import Summary

MOST_BARS = 24
MOST_POINTS = 3
CLIMBS: Mapping[str, Sequence[str]] = {
    "experiment": experiment.PARTS,
    "optimum": ("optimiser_ka", "reference", "optimiser_ak", "last_distillation"),
}
"""The parts of each split in the order that leads from K-A's attainment up to A-K's."""
SHOWN_AS_STEPS = (KD_THEN_ALIGN, ALIGN_THEN_KD, ANCHORED_TO_P_PRIME, experiment.ALIGN_ALONE)
"""Orderings whose attainment the split by experiment climbs through."""
PART_TITLES = {
    **decomposition.TITLES,
    **experiment.TITLES,
    "anchor": "anchor (severity)",
    "last_distillation": "last distillation",
}


def waterfall_plot(run: ReadRun, summary: Summary) -> Plot:
    """From K-A's attainment to A-K's where the order effect is largest: experiment, then optimum.

    Of each grid point both splits that there are, beside each other.
    """
    stem = "waterfall"
    splits = {
        "experiment": _complete(summary.experiment),
        "optimum": _complete(summary.decomposition),
    }
    known = {point for rows in splits.values() for point in rows}
    if not known:
        reasons = "; ".join(dict.fromkeys(summary.decomposition["state"].tolist()))
        return Plot(stem, f"No grid point can be split ({reasons or 'no cells'}).")
    table = summary.order_effect
    points = deepest(table[[point in known for point in table["point"]]], MOST_POINTS)
    attainments = ordering_attainments(
        cell_attainments(summary.outcomes, summary.design),
        summary.design,
        points,
        [name for name in summary.design.orderings if name not in SHOWN_AS_STEPS],
    )
    wholes = {row["point"]: row for row in rows_of(table)}
    falls, words = [], []
    for point in points:
        for name, rows in splits.items():
            if point not in rows:
                continue
            shown = attainments if name == "experiment" or not splits["experiment"] else {}
            falls.append(_waterfall(name, rows[point], wholes[point], summary, shown))
            steps = ", ".join(
                f"{PART_TITLES[part]} {signed_text(rows[point][part])}" for part in CLIMBS[name]
            )
            words.append(f"{point_text(point, summary.axes)}, by {name}: {steps}")
    query = sql.decomposition_query(summary.axes, summary.reward_unit)
    if splits["experiment"]:
        query = sql.experiment_query(summary.axes, summary.reward_unit)
    caption = _caption(summary, splits, len(points), len(known), any(f.controls for f in falls))
    text = "Waterfalls from K-A to A-K: " + "; ".join(words) + "."
    figure = waterfalls(falls, PART_TITLES, axis_title(summary.unit))
    return Plot(stem, caption, text, figure, query)


def _complete(table: pd.DataFrame) -> dict[GridPoint, Mapping[str, Any]]:
    return {row["point"]: row for row in rows_of(table) if row["state"] == COMPLETE}


def _caption(
    summary: Summary,
    splits: Mapping[str, Mapping[GridPoint, Any]],
    shown: int,
    known: int,
    controls: bool,
) -> str:
    caption = (
        f"From K-A's {level_title(summary.unit)} to A-K's{_unit_aside(summary)}: the parts of the "
        "order effect add up exactly to the difference. "
    )
    if splits["experiment"] and splits["optimum"]:
        caption += "Left: split by experiment. Right: the same, split by the optimum. "
    caption += "Whiskers: 95 % intervals of each bar and part."
    if known > shown:
        caption += f" The {shown} of {known} grid points with the largest order effect."
    if controls:
        caption += " Hatched: control orderings."
        if "K-A-K" in summary.design.orderings:
            caption += (
                " K-A-K ends with the same distillation as A-K, so what it gains over K-A is due "
                "to that distillation and not to the ordering."
            )
    return caption


def _unit_aside(summary: Summary) -> str:
    """The unit and its zero, where rewards aren't attainments."""
    if summary.unit == ATTAINMENT:
        return ""
    return f" ({unit_phrase(summary.unit)}, 0 is p' before alignment)"


def _waterfall(
    split: str,
    parts: Mapping[str, Any],
    whole: Mapping[str, Any],
    summary: Summary,
    attainments: Mapping[tuple[GridPoint, str], Estimate],
) -> Waterfall:
    """One grid point's rows of a split's and the order effect's table as a waterfall."""
    point = parts["point"]
    title = point_lines(point, summary.axes) if summary.axes else "the only grid point"
    return Waterfall(
        title=f"{title}\norder effect {decimal_text(whole['order_effect'])}, by {split}",
        start=_columns(whole, "attainment_ka"),
        parts={name: _columns(parts, name) for name in CLIMBS[split]},
        end=_columns(whole, "attainment_ak"),
        controls={
            name: _ends(attainments[point, name])
            for name in summary.design.orderings
            if (point, name) in attainments
        },
    )


def _columns(row: Mapping[str, Any], name: str) -> Range:
    return float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"])


def _ends(estimate: Estimate) -> Range:
    return estimate.value, estimate.low, estimate.high


def experiment_plot(summary: Summary) -> Plot | None:
    """Stacked parts by experiment over the grid; None where waterfalls show all there is."""
    query = sql.experiment_query(summary.axes, summary.reward_unit)
    return _bars(summary, summary.experiment, experiment.PARTS, "experiment", query)


def decomposition_plot(summary: Summary) -> Plot | None:
    """Stacked parts by the optimum over the grid; None where waterfalls show all there is."""
    query = sql.decomposition_query(summary.axes, summary.reward_unit)
    return _bars(summary, summary.decomposition, decomposition.PARTS, "decomposition", query)


def _bars(
    summary: Summary, table: pd.DataFrame, names: Sequence[str], stem: str, query: str
) -> Plot | None:
    known = table[table["state"] == COMPLETE]
    total = len(known)
    if total <= 1:
        return None
    if total > MOST_BARS:
        largest = np.argsort(-np.abs(known["order_effect"].to_numpy()), kind="stable")[:MOST_BARS]
        known = known.iloc[np.sort(largest)]
    labels = [point_text(point, summary.axes) for point in known["point"]]
    parts = {name: known[name].to_numpy(dtype=float) for name in names}
    figure = decomposition_bars(
        parts,
        known["order_effect"].to_numpy(dtype=float),
        labels,
        PART_TITLES,
        ATTAINMENT if summary.unit == ATTAINMENT else "reward in sd under p'",
    )
    by = "experiment" if stem == "experiment" else "the optimum"
    caption = f"Mean parts of the order effect by {by}; they add up to it exactly, seed by seed."
    if total > MOST_BARS:
        caption += (
            f" The {MOST_BARS} of {total} grid points with the largest order effect are shown."
        )
    means = ", ".join(f"{PART_TITLES[n]} {range_text(v)}" for n, v in parts.items())
    words = f"Stacked bars of the parts of the order effect by {by}: {means}."
    return Plot(stem, caption, words, figure, query)
