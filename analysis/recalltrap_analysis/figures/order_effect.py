"""Effects over the grid: along one axis with intervals, over more of them as heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from recalltrap_analysis.figures.style import (
    COLUMN,
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


@dataclass(frozen=True)
class Effect:
    """One effect at every grid point; all arrays have one shape, [G] along an axis, [Y, X] else.

    `value` is NaN where a grid point has none, `low` and `high` where it has no interval. `sign`
    says what was concluded: 1 larger than the margin, -1 smaller than minus the margin, 0 neither.
    """

    title: str
    value: Array
    low: Array
    high: Array
    sign: Array


def effect_lines(effects: Sequence[Effect], labels: Sequence[str], axis: str) -> Figure:
    """Mean effects with their intervals at every grid point of one axis, a panel each.

    Args:
        effects: Filled where something was concluded.
        labels: The axis's values, in order.
        axis: The axis's name.
    """
    width, height = 0.62 * len(labels) + 1.4, 0.5 + 2.4 * len(effects)
    with styled():
        figure, panels = new_figure(width, height, len(effects), sharex=True, sharey=True)
        for (panel,), effect in zip(panels, effects, strict=True):
            _line(panel, effect, labels, axis)
        last = panels[-1][0]
        turn = 35 if max(map(len, labels)) > 9 else 0
        last.set_xticks(np.arange(len(labels)), labels, rotation=turn)
        last.set_xlim(-0.6, len(labels) - 0.4)
        last.set_xlabel(axis)
    return figure


def _line(axes: Axes, effect: Effect, labels: Sequence[str], axis: str) -> None:
    value_G, low_G, high_G = effect.value, effect.low, effect.high
    positions = np.arange(len(labels))
    known = np.isfinite(value_G)
    ranged = known & np.isfinite(low_G)
    axes.axhline(0, color=FAINT, lw=0.9)
    axes.plot(positions, value_G, color=INK, lw=0.9, alpha=0.5)  # broken where incomplete
    axes.vlines(positions[ranged], low_G[ranged], high_G[ranged], color="#D55E00", lw=2.2)
    sure = known & (effect.sign != 0)
    for chosen, fill in ((sure, "#D55E00"), (known & ~sure, "white")):
        axes.plot(positions[chosen], value_G[chosen], "o", mec="#D55E00", mfc=fill, ms=5.5)
    for position in positions[~known]:
        axes.annotate("incomplete", (position, 0), (0, 4), textcoords="offset points",
                      rotation=90, ha="center", color=FAINT, fontsize=7)  # fmt: skip
    for place, label in enumerate(labels):
        spread = with_interval(value_G[place], low_G[place], high_G[place])
        add_point_tooltip(axes, place, value_G[place], f"{axis} {label}: {effect.title} {spread}")
    axes.set_ylabel(_broken(effect.title))
    axes.grid(axis="y")


def _broken(title: str) -> str:
    """A long title on two lines, for the side of a panel."""
    name, opening, rest = title.partition(" (")
    return f"{name}\n({rest}" if opening else name


def effect_maps(
    effects: Sequence[Effect],
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    x_name: str,
    y_name: str,
    unit: str = "attainment",
) -> Figure:
    """Mean effects as heat maps of one scale; grid points without a number are hatched.

    Side by side where they fit into the column, else below each other. The borders of what was
    concluded are drawn.

    Args:
        effects: Arrays of shape [Y, X].
        x_labels: Values of the sweep axis, X of them.
        y_labels: Values of the other axes, Y of them.
        x_name: The sweep axis.
        y_name: The other axes.
        unit: Of the effects.
    """
    rows, columns = effects[0].value.shape
    largest = max(0.05, *(float(np.nanmax(np.abs(e.value), initial=0.0)) for e in effects))
    left = 0.075 * max(map(len, y_labels)) + 1.6
    wide, high = 0.6 * columns, max(2.2, 0.3 * rows + 1.2)
    beside = left + len(effects) * wide <= COLUMN
    across, down = (len(effects), 1) if beside else (1, len(effects))
    with styled():
        figure, panels = new_figure(
            left + across * wide, down * high, down, across, sharex=True, sharey=True
        )
        flat = [panel for row in panels for panel in row]
        for panel, effect in zip(flat, effects, strict=True):
            image = _heat(panel, effect.value, largest)
            _borders(panel, effect.sign)
            for (row, column), value in np.ndenumerate(effect.value):
                where = f"{x_name} {x_labels[column]}, {y_name} {y_labels[row]}"
                sides = (column - 0.5, column + 0.5), (row - 0.5, row + 0.5)
                words = f"{effect.title} {number(value)}" if np.isfinite(value) else "incomplete"
                add_area_tooltip(panel, *sides, f"{where}: {words}")
            panel.set_xticks(range(columns), x_labels)
            panel.set_yticks(range(rows), y_labels)
            panel.set_title(_broken(effect.title) if beside else effect.title)
            panel.spines[:].set_visible(False)
            panel.tick_params(length=0)
        if len(y_name) < 12 * rows * down:
            figure.supylabel(y_name, fontsize=mpl.rcParams["axes.labelsize"])
        for panel in panels[-1]:
            panel.set_xlabel(x_name)
        bar = figure.colorbar(image, ax=flat, label=f"difference, {unit}", shrink=0.9)
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
    """The border of what is larger (solid) and smaller (dashed), around the cells inside."""
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
        lines.set_label("larger" if sign > 0 else "smaller")
        lines.set_clip_on(False)
        axes.add_collection(lines, autolim=False)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
