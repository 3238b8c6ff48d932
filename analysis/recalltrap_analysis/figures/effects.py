"""Effects over the grid: severity, its decomposition, and the forecast against the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from recalltrap_analysis.figures.style import (
    FAINT,
    INK,
    PART_COLOURS,
    colour,
    new_figure,
    styled,
)

Array = npt.NDArray[np.float64]


def severity_line(
    value_G: Array, low_G: Array, high_G: Array, labels: Sequence[str], axis: str
) -> Figure:
    """Mean severity with its interval at every grid point of one axis.

    Args:
        value_G: Mean severities, shape [G]; NaN where a grid point has none, marked as such.
        low_G: Lower ends; NaN where there is no interval.
        high_G: Upper ends.
        labels: The axis's values, in order.
        axis: The axis's name.
    """
    positions = np.arange(len(labels))
    known = np.isfinite(value_G)
    ranged = known & np.isfinite(low_G)
    with styled():
        figure, [[axes]] = new_figure(max(5.2, 0.62 * len(labels) + 1.4), 2.9)
        axes.axhline(0, color=FAINT, lw=0.9)
        axes.plot(positions, value_G, color=INK, lw=0.9, alpha=0.5)  # broken where incomplete
        axes.vlines(positions[ranged], low_G[ranged], high_G[ranged], color="#D55E00", lw=2.2)
        sure = known & ((low_G > 0) | (high_G < 0))
        for chosen, fill in ((sure, "#D55E00"), (known & ~sure, "white")):
            axes.plot(positions[chosen], value_G[chosen], "o", mec="#D55E00", mfc=fill, ms=5.5)
        for position in positions[~known]:
            axes.annotate("incomplete", (position, 0), (0, 4), textcoords="offset points",
                          rotation=90, ha="center", color=FAINT, fontsize=7)  # fmt: skip
        axes.set_xticks(positions, labels, rotation=35 if max(map(len, labels)) > 9 else 0)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_xlabel(axis)
        axes.set_ylabel("trap severity")
        axes.grid(axis="y")
    return figure


def severity_map(
    value_YX: Array,
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    x_name: str,
    y_name: str,
    sign_YX: Array | None = None,
) -> Figure:
    """Mean severity as a heat map; grid points without a number are hatched.

    Args:
        value_YX: Mean severities, shape [Y, X], NaN where there is none.
        x_labels: Values of the sweep axis, X of them.
        y_labels: Values of the other axes, Y of them.
        x_name: The sweep axis.
        y_name: The other axes.
        sign_YX: Where the interval lies, shape [Y, X]: 1 above 0, -1 below, 0 across it; the
            borders between them are drawn.
    """
    rows, columns = value_YX.shape
    largest = max(0.05, float(np.nanmax(np.abs(value_YX), initial=0.0)))
    left = 0.075 * max(map(len, y_labels)) + 1.6
    with styled():
        figure, [[axes]] = new_figure(max(5.2, left + 0.6 * columns), max(2.2, 0.3 * rows + 1.2))
        image = _heat(axes, value_YX, largest)
        if sign_YX is not None:
            _borders(axes, sign_YX)
        axes.set_xticks(range(columns), x_labels)
        axes.set_yticks(range(rows), y_labels)
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name if len(y_name) < 12 * rows else "")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=axes, label="trap severity", shrink=0.9)
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
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink,
                          fontsize=7.5)  # fmt: skip
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


def forecast_scatter(
    predicted: Mapping[str, Array], reached: Mapping[str, Array], titles: Mapping[str, str]
) -> Figure:
    """Reward forecast from the references against the reward that alignment reached.

    Args:
        predicted: Per ordering, the predicted rewards of its cells, shape [C].
        reached: Per ordering, the rewards they reached, shape [C].
        titles: What each ordering's points are called.
    """
    everything = np.concatenate([*predicted.values(), *reached.values()])
    low, high = float(everything.min()), float(everything.max())
    margin = 0.05 * (high - low) + 0.1
    with styled():
        figure, [[axes]] = new_figure(5.2, 4.9)
        limits = (low - margin, high + margin)
        axes.plot(limits, limits, color=FAINT, lw=0.9, label="forecast exact")
        for name, values in predicted.items():
            tint = colour(name, list(predicted))
            marker = "o" if name == "K-A" else "^"
            crowd = len(values) > 1000
            axes.plot(
                values, reached[name], marker, ms=2.5 if crowd else 4, mfc="none", mec=tint,
                mew=0.7, alpha=0.6, label=titles.get(name, name), rasterized=crowd,
            )  # fmt: skip
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        axes.set_aspect("equal")
        axes.set_xlabel("reward forecast from the reference")
        axes.set_ylabel("reward reached")
        axes.grid()
        figure.legend(loc="outside upper left", ncols=1)
    return figure
