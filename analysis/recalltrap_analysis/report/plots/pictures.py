"""Figures of effects, with captions and alternative texts, or the reason for having none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recalltrap_analysis import figures
from recalltrap_analysis.estimates.decomposition import PARTS
from recalltrap_analysis.estimates.decomposition import TITLES as PART_TITLES
from recalltrap_analysis.estimates.forecast import TITLES as FORECAST_TITLES
from recalltrap_analysis.estimates.severity import COMPLETE
from recalltrap_analysis.figures.waterfalls import Range
from recalltrap_analysis.number_format import (
    decimal_text,
    point_lines,
    point_text,
    range_text,
    setting_text,
    signed_text,
)
from recalltrap_analysis.report.document import Plot
from recalltrap_analysis.report.plots.panels import severity_grid
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import GridPoint
from recalltrap_analysis.statistics.paired import Array, Estimate
from recalltrap_analysis.verdicts.summary import Summary

MOST_BARS = 24
MOST_FALLS = 4
CLIMB = ("optimiser_ka", "reference", "optimiser_ak", "last_distillation")
"""The parts in the order that leads from K-A's attainment up to A-K's."""


def draw(stem: str, figure: Figure, caption: str, alternative: str, query: str = "") -> Plot:
    """Render a figure."""
    return Plot(stem, caption, alternative, *figures.render_both(figure, stem), query)


def severity_picture(summary: Summary) -> Plot:
    """Severity over the grid: a line with intervals for one axis, a heat map for more."""
    stem, table, design = "severity", summary.severity, summary.design
    if not (table["state"] == COMPLETE).any():
        return Plot(stem, "No grid point is complete, so there is no severity to draw.")
    query = sql.severity_query(design.axes)
    if len(design.axes) > 1:
        return _map(summary, query)
    labels = [setting_text(point[0]) if point else "all" for point in design.points]
    value, low, high = (
        table[name].to_numpy(dtype=float) for name in ("severity", "severity_low", "severity_high")
    )
    axis = design.axes[0] if design.axes else ""
    figure = figures.severity_line(value, low, high, labels, axis)
    caption = (
        "Trap severity: mean over seeds and its 95 % interval; filled where the interval excludes "
        "0. Above 0, A-K attains more of the reachable reward than K-A."
    )
    words = "Mean trap severity with interval at every grid point: " + _range(table["severity"])
    return draw(stem, figure, caption, words, query)


def _map(summary: Summary, query: str) -> Plot:
    """The trap map, with the border where the interval of severity excludes 0."""
    design = summary.design
    matrices = [
        severity_grid(summary.severity, design, name)
        for name in ("severity", "severity_low", "severity_high")
    ]
    (value, x_labels, y_labels, x_name, y_name), (low, *_), (high, *_) = matrices
    sign = np.where(low > 0, 1, np.where(high < 0, -1, 0))
    figure = figures.severity_map(value, x_labels, y_labels, x_name, y_name, sign)
    caption = (
        f"The trap map: severity over the grid, mean over seeds; rows are {y_name}. Orange: A-K "
        "attains more than K-A. Purple: less. The line borders the trap, where the 95 % interval "
        "of severity lies above 0 (dashed: below 0). Hatched: incomplete."
    )
    total = len(design.points) // max(1, len(x_labels))
    if len(y_labels) < total:
        caption += f" {len(y_labels)} of {total} rows are shown; the table has all."
    words = (
        f"Heat map of mean trap severity by {x_name} and {y_name}: "
        f"{_range(summary.severity['severity'])} The interval lies above 0 at "
        f"{int((sign > 0).sum())} of {sign.size} grid points shown."
    )
    return draw("severity", figure, caption, words, query)


def _range(values: pd.Series[float]) -> str:
    return f"from {range_text(values)}."


def deepest_falls(summary: Summary) -> list[GridPoint]:
    """The grid points that the waterfalls show, the deepest severity first."""
    parts = summary.decomposition
    known = parts[parts["state"] == COMPLETE]
    if known.empty:
        return []
    deepest = np.argsort(-known["severity"].to_numpy(), kind="stable")[:MOST_FALLS]
    return [known["point"].tolist()[i] for i in deepest]


def waterfall_picture(
    summary: Summary, attainments: Mapping[tuple[GridPoint, str], Estimate]
) -> Plot:
    """From K-A's attainment to A-K's, part by part, at the deepest settings.

    Args:
        summary: The run.
        attainments: Mean attainment by grid point and ordering; those beside K-A and A-K are
            drawn as controls.
    """
    stem, parts = "waterfall", summary.decomposition
    known = parts[parts["state"] == COMPLETE]
    if known.empty:
        reasons = "; ".join(dict.fromkeys(parts["state"].tolist()))
        return Plot(stem, f"No grid point can be decomposed ({reasons or 'no cells'}).")
    by_point = {row["point"]: row for _, row in known.iterrows()}
    rows = [by_point[point] for point in deepest_falls(summary)]
    severity = {row["point"]: row for _, row in summary.severity.iterrows()}
    falls = [_waterfall(row, severity[row["point"]], summary, attainments) for row in rows]
    caption = (
        "Where the lead of A-K comes from: K-A's attainment, then the parts of severity in turn, "
        "which add up exactly to A-K's. Whiskers: 95 % intervals of each bar and part."
    )
    if len(known) > len(falls):
        caption += f" The {len(falls)} of {len(known)} grid points with the deepest severity."
    if any(fall.controls for fall in falls):
        caption += (
            " Hatched: the control orderings. K-A-K ends with the same distillation as A-K, so "
            "what it gains over K-A is sharpening and not the ordering."
        )
    words = "Waterfalls from K-A to A-K: " + "; ".join(
        f"{point_text(row['point'], summary.axes)}: "
        + ", ".join(f"{PART_TITLES[name]} {signed_text(row[name])}" for name in CLIMB)
        for row in rows
    )
    query = sql.decomposition_query(summary.axes)
    return draw(stem, figures.waterfalls(falls, PART_TITLES), caption, words + ".", query)


def _waterfall(
    parts: pd.Series[Any],
    whole: pd.Series[Any],
    summary: Summary,
    attainments: Mapping[tuple[GridPoint, str], Estimate],
) -> figures.Waterfall:
    """One setting's rows of the decomposition's and the severity's table as a waterfall."""
    point = parts["point"]
    title = point_lines(point, summary.axes) if summary.axes else "the only grid point"
    return figures.Waterfall(
        title=f"{title}\nseverity {decimal_text(whole['severity'])}",
        start=_columns(whole, "attainment_ka"),
        parts={name: _columns(parts, name) for name in CLIMB},
        end=_columns(whole, "attainment_ak"),
        controls={
            name: _ends(attainments[point, name])
            for name in summary.design.orderings
            if name not in ("K-A", "A-K") and (point, name) in attainments
        },
    )


def _columns(row: pd.Series[Any], name: str) -> Range:
    return float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"])


def _ends(found: Estimate) -> Range:
    return found.value, found.low, found.high


def decomposition_picture(summary: Summary) -> Plot | None:
    """Stacked parts of severity over the grid; None where the waterfalls show all there is."""
    stem, axes = "decomposition", summary.axes
    known = summary.decomposition[summary.decomposition["state"] == COMPLETE]
    total = len(known)
    if total <= 1:
        return None
    if total > MOST_BARS:
        deepest = np.argsort(-np.abs(known["severity"].to_numpy()), kind="stable")[:MOST_BARS]
        known = known.iloc[np.sort(deepest)]
    labels = [point_text(point, axes) for point in known["point"]]
    parts = {name: known[name].to_numpy(dtype=float) for name in PARTS}
    severity = known["severity"].to_numpy(dtype=float)
    figure = figures.decomposition_bars(parts, severity, labels, PART_TITLES)
    caption = "Mean parts of severity. They add up to it exactly, seed by seed."
    if total > MOST_BARS:
        caption += f" The {MOST_BARS} of {total} grid points with the largest severity are shown."
    means = ", ".join(f"{PART_TITLES[n]} {range_text(v)}" for n, v in parts.items())
    words = f"Stacked bars of the parts of severity: {means}."
    return draw(stem, figure, caption, words, sql.decomposition_query(axes))


def forecast_picture(pairs: pd.DataFrame, query: str) -> Plot:
    """Forecast against outcome, one point per cell. `pairs` holds rows of `forecast_pairs`."""
    stem = "forecast"
    if pairs.empty:
        return Plot(stem, "No cell has both a forecast and an outcome.")

    def select(name: str, wanted: str) -> Array:
        return pairs.loc[pairs["ordering"] == name, wanted].to_numpy(dtype=float)

    names = [name for name in FORECAST_TITLES if (pairs["ordering"] == name).any()]
    figure = figures.forecast_scatter(
        {name: select(name, "predicted") for name in names},
        {name: select(name, "reached") for name in names},
        FORECAST_TITLES,
    )
    gap = (pairs["predicted"] - pairs["reached"]).abs().mean()
    caption = (
        "One point per cell: the reward of the exact KL-regularised optimum, known from the "
        "reference alone, against the reward that alignment reached."
    )
    words = f"Reward reached against reward forecast; mean absolute error {decimal_text(gap)}."
    return draw(stem, figure, caption, words, query)
