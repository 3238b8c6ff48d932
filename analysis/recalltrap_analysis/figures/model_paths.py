"""The models that an ordering passes through, in the plane of recall and target (figure 5)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from recalltrap_analysis.figures.style import INK, MARKERS, Array, colour, new_figure, styled
from recalltrap_analysis.figures.tooltips import add_point_tooltip, number

SMALLEST, LARGEST = 20.0, 320.0


@dataclass(frozen=True)
class ModelPath:
    """One ordering's models in order: means over seeds and sample sds, each of shape [M]."""

    ordering: str
    titles: Sequence[str]
    x_M: Array
    y_M: Array
    sd_M: Array
    seeds: int


def model_paths(
    panels: Mapping[tuple[int, int], Sequence[ModelPath]],
    rows: Sequence[str],
    columns: Sequence[str],
    recall: str,
) -> Figure:
    """Overall recall against a target metric; a marker's area grows with its sd over seeds.

    Args:
        panels: The paths of each panel, by row (a target metric) and column (a setting).
        rows: What the target metrics are called.
        columns: What the settings are called.
        recall: What overall recall is called.
    """
    names = list(dict.fromkeys(path.ordering for paths in panels.values() for path in paths))
    with styled():
        width, height = 1.0 + 2.9 * len(columns), 1.0 + 2.5 * len(rows)
        figure, grid = new_figure(width, height, len(rows), len(columns), sharey="row")
        for row, title in enumerate(rows):
            mine = [path for (r, _), paths in panels.items() if r == row for path in paths]
            widest = max([float(path.sd_M.max()) for path in mine], default=0.0)
            for column in range(len(columns)):
                axes = grid[row][column]
                for path in panels.get((row, column), ()):
                    _draw_path(axes, path, widest, colour(path.ordering, names))
                    for x, y, sd, model in zip(
                        path.x_M, path.y_M, path.sd_M, path.titles, strict=True
                    ):
                        words = f"{path.ordering}, {model}: {recall} {number(x)}, {title} "
                        words += f"{number(y)}, sd over {path.seeds} seeds {number(sd)}"
                        add_point_tooltip(axes, x, y, words)
                axes.grid()
                axes.margins(0.14)
                axes.locator_params(axis="x", nbins=4)  # ticks of small differences are long
            note = f"\n(largest sd {widest:.3g})" if widest > 0 else ""
            grid[row][0].set_ylabel(title + note)
        for column, title in enumerate(columns):
            grid[0][column].set_title(title)
            grid[-1][column].set_xlabel(recall)
        handles = [
            Line2D([], [], marker=MARKERS.get(n, "D"), color=colour(n, names), label=n, ms=6)
            for n in names
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=max(1, len(handles)))
    return figure


def _draw_path(axes: Axes, path: ModelPath, widest: float, tint: str) -> None:
    share = path.sd_M / widest if widest > 0 else np.zeros_like(path.sd_M)
    area = SMALLEST + (LARGEST - SMALLEST) * share
    marker = MARKERS.get(path.ordering, "D")
    axes.scatter(path.x_M, path.y_M, s=area, color=tint, alpha=0.4, marker=marker, lw=0)
    axes.scatter(path.x_M, path.y_M, s=9, color=tint, marker=marker)
    points = list(zip(path.x_M.tolist(), path.y_M.tolist(), strict=True))
    for first, second in itertools.pairwise(points):
        axes.annotate("", second, first, arrowprops={"arrowstyle": "-|>", "color": tint, "lw": 1.1,
                      "shrinkA": 4, "shrinkB": 5})  # fmt: skip
    down = path.ordering == "K-A"
    for title, point in zip(path.titles, points, strict=True):
        if title == "p'" and down:
            continue  # the other ordering starts there too
        axes.annotate(title, point, (6, -11 if down else 6), textcoords="offset points",
                      fontsize=7.5, color=INK)  # fmt: skip
