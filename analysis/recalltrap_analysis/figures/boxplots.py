"""Spread over seeds: the paper's boxplots (figures 3, 4, 6 to 12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from recalltrap_analysis.figures.style import (
    INK,
    Array,
    colour,
    new_figure,
    styled,
)
from recalltrap_analysis.figures.tooltips import add_area_tooltip, spread_over

MOST_WIDTH = 9.5
"""Inches: of a figure with many panels."""


@dataclass(frozen=True)
class BoxPanels:
    """Numbers for a table of boxplots.

    `values` maps (row, column, position, ordering), each an index or the ordering's name, to the
    values over seeds, shape [N]; what it lacks is left empty.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    positions: Sequence[str]
    orderings: Sequence[str]
    sweep: str
    values: Mapping[tuple[int, int, int, str], Array]


def boxplots(panels: BoxPanels) -> Figure:
    """One box per ordering at every position of the sweep, one row of axes per metric.

    Boxes are quartiles with the median; whiskers reach 1.5 interquartile ranges, points lie beyond.
    """
    rows, columns = len(panels.rows), len(panels.columns)
    boxes = len(panels.positions) * len(panels.orderings)
    width = min(MOST_WIDTH, columns * max(2.4, 0.6 + 0.2 * boxes))
    with styled():
        figure, axes = new_figure(
            width, 0.6 + 1.75 * rows, rows, columns, sharex="col", sharey="row"
        )
        for row in range(rows):
            for column in range(columns):
                _boxes(axes[row][column], panels, row, column)
            axes[row][0].set_ylabel(panels.rows[row])
        for column in range(columns):
            axes[0][column].set_title(panels.columns[column])
            bottom = axes[-1][column]
            if len(panels.positions) == 1:  # then the orderings are what stands side by side
                ticks = [(place, name) for name, place in _offsets(panels.orderings).items()]
                bottom.set_xticks([place for place, _ in ticks], [name for _, name in ticks])
                continue
            crowded = max(map(len, panels.positions)) * len(panels.positions) > 40
            bottom.set_xticks(
                range(len(panels.positions)), panels.positions, rotation=35 if crowded else 0
            )
            bottom.set_xlabel(panels.sweep)
        handles = [
            Patch(facecolor=colour(n, panels.orderings), alpha=0.55, edgecolor=INK, label=n)
            for n in panels.orderings
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _boxes(axes: Axes, panels: BoxPanels, row: int, column: int) -> None:
    step = 0.8 / len(panels.orderings)
    where = f" at {panels.columns[column]}".replace("\n", ", ") if panels.columns[column] else ""
    for ordering, offset in _offsets(panels.orderings).items():
        boxes = [
            (position, values)
            for position in range(len(panels.positions))
            if (values := panels.values.get((row, column, position, ordering))) is not None
            and len(values)
        ]
        if boxes:
            tint = colour(ordering, panels.orderings)
            draw_boxes(
                axes, [v for _, v in boxes], [p + offset for p, _ in boxes], step * 0.82, tint,
                [_place(panels, ordering, p) + where for p, _ in boxes],
            )  # fmt: skip
    axes.set_xlim(-0.6, len(panels.positions) - 0.4)
    axes.grid(axis="y")


def _offsets(orderings: Sequence[str]) -> dict[str, float]:
    """How far each ordering's box stands from its position."""
    count = len(orderings)
    return {name: (i - (count - 1) / 2) * 0.8 / count for i, name in enumerate(orderings)}


def _place(panels: BoxPanels, ordering: str, position: int) -> str:
    along = f", {panels.sweep} {panels.positions[position]}" if panels.sweep else ""
    return ordering + along


def draw_boxes(
    axes: Axes,
    values: Sequence[Array],
    positions: Sequence[float],
    width: float,
    tint: str,
    names: Sequence[str],
) -> None:
    """Boxes as four collections, not as seven artists each: a study has hundreds of them.

    `names` is what the boxes are called in their tooltips.
    """
    half = width / 2
    boxes, medians, lines = [], [], []
    beyond_x: list[float] = []
    beyond_y: list[float] = []
    for x, values_N, name in zip(positions, values, names, strict=True):
        q1, median, q3 = np.percentile(values_N, [25, 50, 75])
        reach = 1.5 * (q3 - q1)
        inside = values_N[(values_N >= q1 - reach) & (values_N <= q3 + reach)]
        low, high = min(inside.min(), q1), max(inside.max(), q3)
        boxes.append([(x - half, q1), (x + half, q1), (x + half, q3), (x - half, q3)])
        medians.append([(x - half, median), (x + half, median)])
        for end, edge in ((low, q1), (high, q3)):
            lines.append([(x, edge), (x, end)])
            lines.append([(x - half / 2, end), (x + half / 2, end)])
        add_area_tooltip(axes, (x - half, x + half), (q1, q3), f"{name}: {spread_over(values_N)}")
        outside = values_N[(values_N < low) | (values_N > high)]
        beyond_x += [x] * len(outside)
        beyond_y += outside.tolist()
    axes.add_collection(LineCollection(lines, colors=INK, linewidths=0.7, zorder=2))
    fill = to_rgba(tint, 0.55)
    axes.add_collection(
        PolyCollection(boxes, facecolors=[fill], edgecolors=INK, linewidths=0.7, zorder=2.1)
    )
    axes.add_collection(LineCollection(medians, colors=INK, linewidths=1.2, zorder=2.2))
    axes.plot(beyond_x, beyond_y, ".", ms=3, mec=tint, mfc=tint, zorder=2)
    axes.autoscale_view()
