"""Where the order effect comes from: waterfalls from K-A's level to A-K's, stacked bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from recalltrap_analysis.figures.style import (
    COLUMN,
    FAINT,
    INK,
    PART_COLOURS,
    Array,
    colour,
    new_figure,
    styled,
)
from recalltrap_analysis.figures.tooltips import add_area_tooltip, number, with_interval

SIDE_BY_SIDE = 7
"""So many bars of two panels stand side by side with room for their labels."""

Range = tuple[float, float, float]
"""Value, lower and upper end; the ends are NaN where there is no interval."""


@dataclass(frozen=True)
class Waterfall:
    """One setting: K-A's level, the parts in order, A-K's level, and the controls'.

    `parts` holds names of the decomposition's parts; they add up from `start` to `end`.
    """

    title: str
    start: Range
    parts: Mapping[str, Range]
    end: Range
    controls: Mapping[str, Range]


def waterfalls(
    falls: Sequence[Waterfall], titles: Mapping[str, str], level: str = "attainment"
) -> Figure:
    """One panel per setting; whiskers are 95 % intervals of each bar or part.

    Args:
        falls: The settings.
        titles: What the parts are called.
        level: What a bar's height is, with its unit.
    """
    bars = 2 + max(len(fall.parts) + len(fall.controls) for fall in falls)
    columns = 2 if len(falls) > 1 and bars <= SIDE_BY_SIDE else 1
    rows = -(-len(falls) // columns)
    with styled():
        figure, panels = new_figure(COLUMN, 0.7 + 2.7 * rows, rows, columns, sharey=True)
        low, high = _reach(falls)
        panels[0][0].set_ylim(low - 0.05 * (high - low), high + 0.15 * (high - low))
        flat = [panel for row in panels for panel in row]
        for panel, fall in zip(flat, falls, strict=False):
            _fall(panel, fall, titles, level)
        for panel in flat[len(falls) :]:
            panel.set_axis_off()
        for row in panels:
            row[0].set_ylabel(level)
        names = list(dict.fromkeys(name for fall in falls for name in fall.parts))
        handles = [
            Patch(facecolor=PART_COLOURS.get(name, FAINT), label=titles.get(name, name))
            for name in names
        ]
        if any(fall.controls for fall in falls):
            handles.append(Patch(facecolor="white", edgecolor=INK, hatch="///", label="controls"))
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _reach(falls: Sequence[Waterfall]) -> tuple[float, float]:
    """The lowest and the highest place that a bar or a whisker of any panel comes to."""
    ends = [0.0]
    for fall in falls:
        level = fall.start[0]
        for spread in (fall.start, fall.end, *fall.controls.values()):
            ends += spread
        for spread in fall.parts.values():
            ends += [level + end for end in spread]
            level += spread[0]
    return float(np.nanmin(ends)), float(np.nanmax(ends))


def _fall(axes: Axes, fall: Waterfall, titles: Mapping[str, str], what: str) -> None:
    place, level = 1, fall.start[0]
    _bar(axes, 0, fall.start, "K-A", what)
    labels = ["K-A"]
    for name, (value, low, high) in fall.parts.items():
        axes.plot([place - 0.62, place + 0.38], [level, level], color=FAINT, lw=0.7, zorder=1)
        axes.bar(place, value, bottom=level, width=0.76, color=PART_COLOURS.get(name, FAINT))
        axes.vlines(place, level + low, level + high, color=INK, lw=1.0)
        top = max(level, level + value, level + (high if np.isfinite(high) else value))
        words = f"{titles.get(name, name)}: {with_interval(value, low, high)}"
        add_area_tooltip(axes, (place - 0.38, place + 0.38), (level, level + value), words)
        axes.annotate(_signed(value), (place, top), (0, 2), textcoords="offset points",
                      ha="center", fontsize=7, color=INK)  # fmt: skip
        level += value
        labels.append("")
        place += 1
    axes.plot([place - 0.62, place + 0.38], [level, level], color=FAINT, lw=0.7, zorder=1)
    _bar(axes, place, fall.end, "A-K", what)
    labels.append("A-K")
    if fall.controls:
        axes.axvline(place + 0.5, color=FAINT, lw=0.7, ls=(0, (2, 2)))
    for name, spread in fall.controls.items():
        place += 1
        _bar(axes, place, spread, name, what, list(fall.controls))
        labels.append(name)
    turned = len(fall.controls) > 0
    axes.set_xticks(
        range(len(labels)), labels, rotation=30 if turned else 0, ha="right" if turned else "center"
    )
    axes.axhline(0, color=INK, lw=0.8)
    axes.set_xlim(-0.6, place + 0.6)
    axes.set_title(fall.title)
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)


def _signed(value: float) -> str:
    text = f"{value:+.2f}"
    return "0.00" if text == "-0.00" else text


def _bar(
    axes: Axes,
    place: int,
    spread: Range,
    ordering: str,
    what: str,
    controls: Sequence[str] = (),
) -> None:
    value, low, high = spread
    tint = colour(ordering, controls)
    face, hatch = ("white", "////") if controls else (tint, "")
    axes.bar(place, value, width=0.76, color=face, edgecolor=tint, hatch=hatch, lw=0.8)
    axes.vlines(place, low, high, color=INK, lw=1.0)
    words = f"{what} of {ordering}: {with_interval(value, low, high)}"
    add_area_tooltip(axes, (place - 0.38, place + 0.38), (0, value), words)


def decomposition_bars(
    parts: Mapping[str, Array],
    order_effect_G: Array,
    labels: Sequence[str],
    titles: Mapping[str, str],
    unit: str = "attainment",
) -> Figure:
    """The order effect's mean parts, stacked from zero to either side; a diamond marks their sum.

    Args:
        parts: Mean of every part at every grid point, each of shape [G].
        order_effect_G: Mean order effect, shape [G].
        labels: The grid points, G of them.
        titles: What each part is called.
        unit: Of the parts.
    """
    rows = np.arange(len(labels))
    with styled():
        figure, [[axes]] = new_figure(COLUMN, 1.25 + 0.27 * len(labels))
        above, below = np.zeros(len(labels)), np.zeros(len(labels))
        for name, value_G in parts.items():
            start_G = np.where(value_G >= 0, above, below)
            axes.barh(rows, value_G, left=start_G, height=0.62, color=PART_COLOURS.get(name, FAINT),
                      label=titles.get(name, name), edgecolor="white", lw=0.5)  # fmt: skip
            for row, (start, value) in enumerate(zip(start_G, value_G, strict=True)):
                words = f"{labels[row]}: {titles.get(name, name)} {number(value)}"
                words += f" of the order effect {number(order_effect_G[row])}"
                add_area_tooltip(axes, (start, start + value), (row - 0.31, row + 0.31), words)
            above += np.maximum(value_G, 0)
            below += np.minimum(value_G, 0)
        axes.plot(
            order_effect_G, rows, "D", color=INK, ms=5, mec="white", mew=0.7, label="order effect"
        )
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_yticks(rows, labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlabel(f"{unit}, A-K minus K-A")
        axes.grid(axis="x")
        figure.legend(loc="outside upper left", ncols=3)
    return figure
