"""Where the order effect comes from: waterfalls at the deepest settings, bars over the grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.streams import stream
from recalltrap_analysis.estimates.attainment import cell_attainments
from recalltrap_analysis.estimates.controls import ordering_attainments
from recalltrap_analysis.estimates.decomposition import PARTS, TITLES
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, COMPLETE, KD_THEN_ALIGN
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
from recalltrap_analysis.statistics.paired import Estimate
from recalltrap_analysis.verdicts.summary import Summary

MOST_BARS = 24
MOST_FALLS = 4
CLIMB = ("optimiser_ka", "reference", "optimiser_ak", "last_distillation")
"""The parts in the order that leads from K-A's attainment up to A-K's."""


def waterfall_plot(run: ReadRun, summary: Summary) -> Plot:
    """From K-A's attainment to A-K's, part by part, at the deepest settings."""
    stem, parts = "waterfall", summary.decomposition
    known = parts[parts["state"] == COMPLETE]
    if known.empty:
        reasons = "; ".join(dict.fromkeys(parts["state"].tolist()))
        return Plot(stem, f"No grid point can be decomposed ({reasons or 'no cells'}).")
    by_point = {row["point"]: row for _, row in known.iterrows()}
    points = deepest(parts, MOST_FALLS)
    rows = [by_point[point] for point in points]
    attainments = ordering_attainments(
        cell_attainments(summary.outcomes, summary.design),
        summary.design,
        points,
        [name for name in summary.design.orderings if name not in (KD_THEN_ALIGN, ALIGN_THEN_KD)],
        stream(0, "analysis/attainments"),
    )
    order_effect = {row["point"]: row for _, row in summary.order_effect.iterrows()}
    falls = [_waterfall(row, order_effect[row["point"]], summary, attainments) for row in rows]
    caption = (
        "From K-A's attainment to A-K's: the four parts of the order effect add up exactly to the "
        "difference. Whiskers: 95 % intervals of each bar and part."
    )
    if len(known) > len(falls):
        caption += f" The {len(falls)} of {len(known)} grid points with the largest order effect."
    if any(fall.controls for fall in falls):
        caption += (
            " Hatched: the control orderings. K-A-K ends with the same distillation as A-K, so "
            "what it gains over K-A is due to that distillation and not to the ordering."
        )
    words = "Waterfalls from K-A to A-K: " + "; ".join(
        f"{point_text(row['point'], summary.axes)}: "
        + ", ".join(f"{TITLES[name]} {signed_text(row[name])}" for name in CLIMB)
        for row in rows
    )
    query = sql.decomposition_query(summary.axes, summary.kind)
    return Plot(stem, caption, words + ".", waterfalls(falls, TITLES), query)


def _waterfall(
    parts: pd.Series[Any],
    whole: pd.Series[Any],
    summary: Summary,
    attainments: Mapping[tuple[GridPoint, str], Estimate],
) -> Waterfall:
    """One setting's rows of the decomposition's and the order effect's table as a waterfall."""
    point = parts["point"]
    title = point_lines(point, summary.axes) if summary.axes else "the only grid point"
    return Waterfall(
        title=f"{title}\norder effect {decimal_text(whole['order_effect'])}",
        start=_columns(whole, "attainment_ka"),
        parts={name: _columns(parts, name) for name in CLIMB},
        end=_columns(whole, "attainment_ak"),
        controls={
            name: _ends(attainments[point, name])
            for name in summary.design.orderings
            if name not in (KD_THEN_ALIGN, ALIGN_THEN_KD) and (point, name) in attainments
        },
    )


def _columns(row: pd.Series[Any], name: str) -> Range:
    return float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"])


def _ends(estimate: Estimate) -> Range:
    return estimate.value, estimate.low, estimate.high


def decomposition_plot(run: ReadRun, summary: Summary) -> Plot | None:
    """Stacked parts of the order effect over the grid; None where waterfalls show all there is."""
    stem, axes = "decomposition", summary.axes
    known = summary.decomposition[summary.decomposition["state"] == COMPLETE]
    total = len(known)
    if total <= 1:
        return None
    if total > MOST_BARS:
        deepest = np.argsort(-np.abs(known["order_effect"].to_numpy()), kind="stable")[:MOST_BARS]
        known = known.iloc[np.sort(deepest)]
    labels = [point_text(point, axes) for point in known["point"]]
    parts = {name: known[name].to_numpy(dtype=float) for name in PARTS}
    order_effect = known["order_effect"].to_numpy(dtype=float)
    figure = decomposition_bars(parts, order_effect, labels, TITLES)
    caption = "Mean parts of the order effect; they add up to it exactly, seed by seed."
    if total > MOST_BARS:
        caption += (
            f" The {MOST_BARS} of {total} grid points with the largest order effect are shown."
        )
    means = ", ".join(f"{TITLES[n]} {range_text(v)}" for n, v in parts.items())
    words = f"Stacked bars of the parts of the order effect: {means}."
    return Plot(stem, caption, words, figure, sql.decomposition_query(axes, summary.kind))
