"""Order effect over the grid: along one axis with intervals, over more of them as a heat map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from recalltrap_analysis.figures.style import (
    FAINT,
    INK,
    Array,
    new_figure,
    styled,
)
from recalltrap_analysis.figures.tooltips import (
    add_area_tooltip,
    add_point_tooltip,
    number,
    with_interval,
)


def order_effect_line(
    value_G: Array,
    low_G: Array,
    high_G: Array,
    labels: Sequence[str],
    axis: str,
    sign_G: Array,
) -> Figure:
    """Mean order effect with its interval at every grid point of one axis.

    Args:
        value_G: Mean order effects, shape [G]; NaN where a grid point has none, marked as such.
        low_G: Lower ends; NaN where there is no interval.
        high_G: Upper ends.
        labels: The axis's values, in order.
        axis: The axis's name.
        sign_G: What was concluded, shape [G]: 1 a trap, -1 a reversal, 0 neither; filled if not 0.
    """
    positions = np.arange(len(labels))
    known = np.isfinite(value_G)
    ranged = known & np.isfinite(low_G)
    with styled():
        figure, [[axes]] = new_figure(0.62 * len(labels) + 1.4, 2.9)
        axes.axhline(0, color=FAINT, lw=0.9)
        axes.plot(positions, value_G, color=INK, lw=0.9, alpha=0.5)  # broken where incomplete
        axes.vlines(positions[ranged], low_G[ranged], high_G[ranged], color="#D55E00", lw=2.2)
        sure = known & (sign_G != 0)
        for chosen, fill in ((sure, "#D55E00"), (known & ~sure, "white")):
            axes.plot(positions[chosen], value_G[chosen], "o", mec="#D55E00", mfc=fill, ms=5.5)
        for position in positions[~known]:
            axes.annotate("incomplete", (position, 0), (0, 4), textcoords="offset points",
                          rotation=90, ha="center", color=FAINT, fontsize=7)  # fmt: skip
        for place, label in enumerate(labels):
            spread = with_interval(value_G[place], low_G[place], high_G[place])
            add_point_tooltip(axes, place, value_G[place], f"{axis} {label}: order effect {spread}")
        axes.set_xticks(positions, labels, rotation=35 if max(map(len, labels)) > 9 else 0)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_xlabel(axis)
        axes.set_ylabel("order effect")
        axes.grid(axis="y")
    return figure


def order_effect_map(
    value_YX: Array,
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    x_name: str,
    y_name: str,
    sign_YX: Array | None = None,
) -> Figure:
    """Mean order effect as a heat map; grid points without a number are hatched.

    Args:
        value_YX: Mean order effects, shape [Y, X], NaN where there is none.
        x_labels: Values of the sweep axis, X of them.
        y_labels: Values of the other axes, Y of them.
        x_name: The sweep axis.
        y_name: The other axes.
        sign_YX: What was concluded, shape [Y, X]: 1 a trap, -1 a reversal, 0 neither; the borders
            between them are drawn.
    """
    rows, columns = value_YX.shape
    largest = max(0.05, float(np.nanmax(np.abs(value_YX), initial=0.0)))
    left = 0.075 * max(map(len, y_labels)) + 1.6
    with styled():
        figure, [[axes]] = new_figure(left + 0.6 * columns, max(2.2, 0.3 * rows + 1.2))
        image = _heat(axes, value_YX, largest)
        if sign_YX is not None:
            _borders(axes, sign_YX)
        for (row, column), value in np.ndenumerate(value_YX):
            where = f"{x_name} {x_labels[column]}, {y_name} {y_labels[row]}"
            sides = (column - 0.5, column + 0.5), (row - 0.5, row + 0.5)
            words = f"order effect {number(value)}" if np.isfinite(value) else "incomplete"
            add_area_tooltip(axes, *sides, f"{where}: {words}")
        axes.set_xticks(range(columns), x_labels)
        axes.set_yticks(range(rows), y_labels)
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name if len(y_name) < 12 * rows else "")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=axes, label="order effect", shrink=0.9)
        bar.outline.set_visible(False)
    return figure


def _heat(axes: Axes, value_YX: Array, largest: float) -> AxesImage:
    axes.set_facecolor("#f2f2f2")
    axes.patch.set_hatch("///")
    axes.patch.set_edgecolor("#c8c8c8")
    norm = TwoSlopeNorm(0, -largest, largest)
    image = axes.imshow(value_YX, cmap="PuOr_r", norm=norm, aspect="auto")
    if value_YX.size <= 240:
        for (row, column), value in np.ndenumerate(value_YX):
            if np.isfinite(value):
                ink = "white" if abs(value) > 0.7 * largest else INK
                text = f"{round(float(value), 2) + 0.0:.2f}"  # no negative zero
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=7.5)
    return image


def _borders(axes: Axes, sign_YX: Array) -> None:
    """The border of the trap (solid) and of its reversal (dashed), around the cells inside."""
    rows, columns = sign_YX.shape
    for sign, style in ((1, "solid"), (-1, (0, (2, 1.5)))):
        inside = np.pad(sign_YX == sign, 1)
        edges = []
        for row, column in np.argwhere(inside[1:-1, 1:-1]):
            box = {"w": column - 0.5, "e": column + 0.5, "n": row - 0.5, "s": row + 0.5}
            y, x = row + 1, column + 1
            if not inside[y, x - 1]:
                edges.append([(box["w"], box["n"]), (box["w"], box["s"])])
            if not inside[y, x + 1]:
                edges.append([(box["e"], box["n"]), (box["e"], box["s"])])
            if not inside[y - 1, x]:
                edges.append([(box["w"], box["n"]), (box["e"], box["n"])])
            if not inside[y + 1, x]:
                edges.append([(box["w"], box["s"]), (box["e"], box["s"])])
        lines = LineCollection(edges, colors=INK, linewidths=1.8, linestyles=style)
        lines.set_capstyle("round")
        lines.set_label("trap" if sign > 0 else "reversal")
        lines.set_clip_on(False)
        axes.add_collection(lines, autolim=False)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
