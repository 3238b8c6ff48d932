"""Severity against the recall deficit."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from recalltrap_analysis.figures.style import FAINT, INK, Array, new_figure, styled
from recalltrap_analysis.figures.tooltips import add_point_tooltip, number, with_interval


def scaling_curve(
    points: tuple[Array, Array, Array, Array],
    groups: Sequence[str],
    curve: tuple[Array, Array, Array, Array] | None,
    x_name: str,
    y_name: str = "severity",
) -> Figure:
    """Severity against the recall deficit, one point per setting, with the fitted curve.

    Args:
        points: Place on the horizontal axis, severity, its lower and upper ends, each [G].
        groups: A group's name per point, e.g. its KL weight; tells the markers apart.
        curve: x, y, lower and upper end of the fitted curve, each of shape [T], or None.
        x_name: What the horizontal axis measures.
        y_name: What the vertical one does.
    """
    deficit_G, severity_G, low_G, high_G = points
    names = list(dict.fromkeys(groups))
    with styled():
        figure, [[axes]] = new_figure(6.2, 3.9)
        axes.axhline(0, color=FAINT, lw=0.9)
        if curve is not None:
            x_T, y_T, below_T, above_T = curve
            axes.fill_between(x_T, below_T, above_T, color="#bbbbbb", alpha=0.5, lw=0)
            axes.plot(x_T, y_T, color=INK, lw=1.6, label="fitted")
        for place, name in enumerate(names):
            mine = np.array([group == name for group in groups])
            shade = place / max(1, len(names) - 1)
            tint = mpl.colormaps["viridis"](0.92 * shade)
            ranged = mine & np.isfinite(low_G)
            axes.vlines(deficit_G[ranged], low_G[ranged], high_G[ranged], color=tint, lw=0.8,
                        alpha=0.5)  # fmt: skip
            axes.plot(deficit_G[mine], severity_G[mine], "os^Dv<>P"[place % 8], color=tint, ms=4,
                      label=name or None)  # fmt: skip
        for x, y, low, high, name in zip(*points, groups, strict=True):
            words = f"{x_name} {number(x)}: severity {with_interval(y, low, high)}"
            add_point_tooltip(axes, x, y, f"{name}, {words}" if name else words)
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name)
        axes.grid()
        if axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside right upper")
    return figure
