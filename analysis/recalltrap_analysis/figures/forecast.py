"""Forecasts and outcomes over the KL weight: lines for what was forecast, marks for what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recalltrap_analysis.figures.style import FAINT, Array, new_figure, styled
from recalltrap_analysis.figures.tooltips import add_point_tooltip, with_interval

APART = 0.08
"""Between the marks of several series at one KL weight, of the distance between two weights."""


@dataclass(frozen=True)
class Series:
    """One series of a panel: mean with its interval at each of W KL weights.

    `values_3W`: mean, lower and upper limit, shape [3, W]; NaN where there is none.
    """

    label: str
    tint: str
    style: Literal["line", "dashed", "marks"]
    values_3W: Array
    marker: str = "o"


@dataclass(frozen=True)
class Panel:
    """The series of one stratum; `weights` are their KL weights in words."""

    title: str
    weights: Sequence[str]
    series: Sequence[Series]


def over_kl_weight(panels: Sequence[Panel], x_name: str, y_name: str) -> Figure:
    """One panel per stratum; lines with a band for their interval, marks with bars.

    Args:
        panels: What each shows, all of them the same series.
        x_name: The KL weight's name.
        y_name: What is on the y axis.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with styled():
        figure, grid = new_figure(7.4, 0.9 + 2.6 * rows, rows, columns, sharey=True)
        places = [axes for row in grid for axes in row]
        for axes, panel in zip(places, panels, strict=False):
            _draw(axes, panel, x_name, y_name)
            axes.set_title(panel.title)
            axes.set_xlabel(x_name)
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel(y_name)
        handles, labels = places[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _draw(axes: Axes, panel: Panel, x_name: str, y_name: str) -> None:
    place_W = np.arange(len(panel.weights), dtype=float)
    if any(np.nanmin(one.values_3W) < 0 for one in panel.series):
        axes.axhline(0, color=FAINT, lw=0.8)
    marks = [one for one in panel.series if one.style == "marks"]
    for one in panel.series:
        value_W, low_W, high_W = one.values_3W
        x_W = place_W
        if one.style == "marks":
            x_W = place_W + APART * (marks.index(one) - (len(marks) - 1) / 2)
            axes.vlines(x_W, low_W, high_W, color=one.tint, lw=1.4)
            axes.plot(x_W, value_W, one.marker, color=one.tint, ms=4.5, label=one.label)
        else:
            dashes = "--" if one.style == "dashed" else "-"
            axes.plot(x_W, value_W, dashes, color=one.tint, label=one.label)
            axes.fill_between(x_W, low_W, high_W, color=one.tint, alpha=0.12, lw=0)
        for place, weight in enumerate(panel.weights):
            found = with_interval(value_W[place], low_W[place], high_W[place])
            words = f"{x_name} {weight}: {one.label}, {y_name} {found}"
            add_point_tooltip(axes, x_W[place], value_W[place], words)
    axes.set_xticks(place_W, panel.weights, rotation=35 if len(panel.weights) > 7 else 0)
    axes.set_xlim(-0.4, len(panel.weights) - 0.6)
    axes.grid(axis="y")
