"""Where severity comes from: waterfalls from K-A's attainment up to A-K's, and stacked bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from recalltrap_analysis.figures.style import (
    FAINT,
    INK,
    PART_COLOURS,
    Array,
    colour,
    new_figure,
    styled,
)

Range = tuple[float, float, float]
"""Value, lower and upper end; the ends are NaN where there is no interval."""


@dataclass(frozen=True)
class Waterfall:
    """One setting: K-A's attainment, the parts in order, A-K's attainment, and the controls'.

    `parts` holds names of the decomposition's parts; they add up from `start` to `end`.
    """

    title: str
    start: Range
    parts: Mapping[str, Range]
    end: Range
    controls: Mapping[str, Range]


def waterfalls(falls: Sequence[Waterfall], titles: Mapping[str, str]) -> Figure:
    """One panel per setting; whiskers are 95 % intervals of each bar or part.

    Args:
        falls: The settings.
        titles: What the parts are called.
    """
    columns = min(2, len(falls))
    rows = -(-len(falls) // columns)
    bars = 2 + max(len(fall.parts) + len(fall.controls) for fall in falls)
    with styled():
        width = columns * (1.1 + 0.46 * bars) + 0.4
        figure, panels = new_figure(max(5.4, width), 0.7 + 2.9 * rows, rows, columns, sharey=True)
        flat = [panel for row in panels for panel in row]
        for panel, fall in zip(flat, falls, strict=False):
            _fall(panel, fall)
        for panel in flat[len(falls) :]:
            panel.set_axis_off()
        for row in panels:
            row[0].set_ylabel("attainment")
        names = list(dict.fromkeys(name for fall in falls for name in fall.parts))
        handles = [
            Patch(facecolor=PART_COLOURS.get(name, FAINT), label=titles.get(name, name))
            for name in names
        ]
        if any(fall.controls for fall in falls):
            handles.append(Patch(facecolor="white", edgecolor=INK, hatch="///", label="controls"))
        figure.legend(handles=handles, loc="outside upper left", ncols=2 if columns == 1 else 3)
    return figure


def _fall(axes: Axes, fall: Waterfall) -> None:
    place, level = 1, fall.start[0]
    _bar(axes, 0, fall.start, colour("K-A", ["K-A"]))
    labels = ["K-A"]
    for name, (value, low, high) in fall.parts.items():
        axes.plot([place - 0.62, place + 0.38], [level, level], color=FAINT, lw=0.7, zorder=1)
        axes.bar(place, value, bottom=level, width=0.76, color=PART_COLOURS.get(name, FAINT))
        axes.vlines(place, level + low, level + high, color=INK, lw=1.0)
        top = max(level, level + value, level + (high if np.isfinite(high) else value))
        axes.annotate(f"{value:+.2f}", (place, top), (0, 2), textcoords="offset points",
                      ha="center", fontsize=7, color=INK)  # fmt: skip
        level += value
        labels.append("")
        place += 1
    axes.plot([place - 0.62, place + 0.38], [level, level], color=FAINT, lw=0.7, zorder=1)
    _bar(axes, place, fall.end, colour("A-K", ["A-K"]))
    labels.append("A-K")
    if fall.controls:
        axes.axvline(place + 0.5, color=FAINT, lw=0.7, ls=(0, (2, 2)))
    for name, spread in fall.controls.items():
        place += 1
        _bar(axes, place, spread, colour(name, list(fall.controls)), control=True)
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


def _bar(axes: Axes, place: int, spread: Range, tint: str, *, control: bool = False) -> None:
    value, low, high = spread
    face, hatch = ("white", "////") if control else (tint, "")
    axes.bar(place, value, width=0.76, color=face, edgecolor=tint, hatch=hatch, lw=0.8)
    axes.vlines(place, low, high, color=INK, lw=1.0)


def decomposition_bars(
    parts: Mapping[str, Array], severity_G: Array, labels: Sequence[str], titles: Mapping[str, str]
) -> Figure:
    """The mean parts of severity, stacked from zero to either side; a diamond marks their sum.

    Args:
        parts: Mean of every part at every grid point, each of shape [G].
        severity_G: Mean severity, shape [G].
        labels: The grid points, G of them.
        titles: What each part is called.
    """
    rows = np.arange(len(labels))
    with styled():
        left = 0.07 * max(map(len, labels))
        figure, [[axes]] = new_figure(min(9.5, 4.6 + left), 1.25 + 0.27 * len(labels))
        above, below = np.zeros(len(labels)), np.zeros(len(labels))
        for name, value_G in parts.items():
            start_G = np.where(value_G >= 0, above, below)
            axes.barh(rows, value_G, left=start_G, height=0.62, color=PART_COLOURS.get(name, FAINT),
                      label=titles.get(name, name), edgecolor="white", lw=0.5)  # fmt: skip
            above += np.maximum(value_G, 0)
            below += np.minimum(value_G, 0)
        axes.plot(severity_G, rows, "D", color=INK, ms=5, mec="white", mew=0.7, label="severity")
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_yticks(rows, labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlabel("attainment, A-K minus K-A")
        axes.grid(axis="x")
        figure.legend(loc="outside upper left", ncols=2)
    return figure
