"""What a figure says of each of its points: the numbers that a reader sees on hover and on focus.

A figure collects them while it is drawn, in the units of its axes; where they lie on the page is
known only once it has been laid out, so the renderer writes them into the SVG.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MOST_TOOLTIPS = 600
"""Of one figure; a cloud of more points is read as a cloud."""


@dataclass(frozen=True)
class Tooltip:
    """The text of the rectangle from (left, bottom) to (right, top) in the units of `axes`.

    A point is a rectangle of no size.
    """

    axes: Axes
    left: float
    bottom: float
    right: float
    top: float
    text: str


class TooltipFigure(Figure):
    """A figure with the tooltips of what it shows."""

    def __init__(self, *positional: Any, **options: Any) -> None:
        super().__init__(*positional, **options)
        self.tooltips: list[Tooltip] = []

    def placed_tooltips(self) -> Iterator[tuple[tuple[float, float, float, float], str]]:
        """Left, top, width and height in points from the upper left corner, and the text.

        Only of a figure that has been drawn at 72 dpi: before, axes may still move.
        """
        height = float(self.get_figheight()) * 72
        for tooltip in self.tooltips:
            corners = [(tooltip.left, tooltip.bottom), (tooltip.right, tooltip.top)]
            x, y = np.asarray(tooltip.axes.transData.transform(corners), dtype=float).T
            if np.isfinite(x).all() and np.isfinite(y).all():
                sides = (x.min(), height - y.max(), np.ptp(x), np.ptp(y))
                yield (
                    (float(sides[0]), float(sides[1]), float(sides[2]), float(sides[3])),
                    (tooltip.text),
                )


def add_point_tooltip(axes: Axes, x: float, y: float, text: str) -> None:
    """Say something of a point; `x` and `y` in the units of the axes."""
    add_area_tooltip(axes, (x, x), (y, y), text)


def add_area_tooltip(axes: Axes, x: tuple[float, float], y: tuple[float, float], text: str) -> None:
    """Say something of an area from one end to the other, in the units of the axes."""
    figure = axes.figure
    if not isinstance(figure, TooltipFigure) or not np.isfinite([*x, *y]).all():
        return
    if len(figure.tooltips) < MOST_TOOLTIPS:
        figure.tooltips.append(
            Tooltip(axes, float(x[0]), float(y[0]), float(x[1]), float(y[1]), text)
        )


def number(value: float) -> str:
    """A number in four significant digits, and no negative zero."""
    return f"{value + 0.0:.4g}" if np.isfinite(value) else "–"


def with_interval(value: float, low: float, high: float) -> str:
    """A number with its interval, e.g. ``0.4372 [0.31, 0.5621]``."""
    ends = f" [{number(low)}, {number(high)}]" if np.isfinite(low) else ""
    return number(value) + ends


def spread_over(values_N: npt.NDArray[np.float64]) -> str:
    """Median, quartiles and number of values, in words."""
    q1, median, q3 = np.percentile(values_N, [25, 50, 75])
    if len(values_N) == 1:
        return f"{number(median)}, 1 seed"
    return f"median {number(median)}, quartiles {number(q1)} to {number(q3)}, {len(values_N)} seeds"
