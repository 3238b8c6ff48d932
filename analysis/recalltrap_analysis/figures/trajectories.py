"""The paper's figures 5 and 15: each ordering's way through recall and target, seeds as size."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from recalltrap_analysis.estimates.trajectories import Way
from recalltrap_analysis.figures.style import INK, colour, new_figure, styled

SMALLEST, LARGEST = 20.0, 320.0
MARKERS = {"K-A": "o", "A-K": "s"}


def trajectories(
    panels: Mapping[tuple[int, int], Sequence[Way]], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Overall recall against a target metric; a marker's area grows with its sd over seeds.

    Args:
        panels: The ways of each panel, by row (a target metric) and column (a setting).
        rows: What the target metrics are called.
        columns: What the settings are called.
    """
    names = list(dict.fromkeys(way.ordering for found in panels.values() for way in found))
    with styled():
        width, height = 1.0 + 2.9 * len(columns), 1.0 + 2.5 * len(rows)
        figure, grid = new_figure(max(5.0, width), height, len(rows), len(columns), sharey="row")
        for row, title in enumerate(rows):
            mine = [way for (r, _), found in panels.items() if r == row for way in found]
            widest = max([float(way.sd_M.max()) for way in mine], default=0.0)
            for column in range(len(columns)):
                axes = grid[row][column]
                for way in panels.get((row, column), ()):
                    _way(axes, way, widest, colour(way.ordering, names))
                axes.grid()
                axes.margins(0.14)
            note = f"\n(largest sd {widest:.3g})" if widest > 0 else ""
            grid[row][0].set_ylabel(title + note)
        for column, title in enumerate(columns):
            grid[0][column].set_title(title)
            grid[-1][column].set_xlabel("overall recall, nats")
        handles = [
            Line2D([], [], marker=MARKERS.get(n, "D"), color=colour(n, names), label=n, ms=6)
            for n in names
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=max(1, len(handles)))
    return figure


def _way(axes: Axes, way: Way, widest: float, tint: str) -> None:
    share = way.sd_M / widest if widest > 0 else np.zeros_like(way.sd_M)
    area = SMALLEST + (LARGEST - SMALLEST) * share
    marker = MARKERS.get(way.ordering, "D")
    axes.scatter(way.x_M, way.y_M, s=area, color=tint, alpha=0.4, marker=marker, lw=0)
    axes.scatter(way.x_M, way.y_M, s=9, color=tint, marker=marker)
    points = list(zip(way.x_M.tolist(), way.y_M.tolist(), strict=True))
    for first, second in itertools.pairwise(points):
        axes.annotate("", second, first, arrowprops={"arrowstyle": "-|>", "color": tint, "lw": 1.1,
                      "shrinkA": 4, "shrinkB": 5})  # fmt: skip
    down = way.ordering == "K-A"
    for title, point in zip(way.titles, points, strict=True):
        if title == "p'" and down:
            continue  # the other ordering starts there too
        axes.annotate(title, point, (6, -11 if down else 6), textcoords="offset points",
                      fontsize=7.5, color=INK)  # fmt: skip
