"""One look for all figures: colour-blind-safe, deterministic, without pyplot's global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recalltrap_analysis.figures.axes.light_axes import LightAxes
from recalltrap_analysis.figures.tooltips import TooltipFigure

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_KNOWN = {"K-A": "#D55E00", "A-K": "#0072B2", "A": "#56B4E9", "K": "#E69F00"}
_OTHERS = ("#009E73", "#CC79A7", "#8C6D31", "#666666")
PART_COLOURS = {
    "last_distillation": "#56B4E9",
    "optimiser_ak": "#009E73",
    "reference": "#D55E00",
    "optimiser_ka": "#CC79A7",
    "anchor": "#D55E00",
    "size_and_start": "#E69F00",
}
P_PRIME, P_SECOND = "#0072B2", "#D55E00"
INK, FAINT = "#222222", "#999999"
COLUMN = 7.2
"""Inches: no figure is narrower, so that text is equally large in all of them on a page."""
MARKERS = {"K-A": "o", "A-K": "s"}

Array: TypeAlias = npt.NDArray[np.float64]

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.axisbelow": True,
    # where titles stand anyway; to find out, a panel measures all its ticks three times
    "axes.titley": 1.0,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # names come from study files: a dollar sign is a dollar sign
    "svg.fonttype": "none",
    "pdf.fonttype": 3,  # embedding whole fonts took a third of a report's time
}


def styled(**more: Any) -> Any:
    """A context in which figures are made and rendered; `more`: further rc parameters."""
    return mpl.rc_context(_STYLE | more)


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure of `rows` × `columns` axes; inches, as wide as the column at least."""
    figure = TooltipFigure(figsize=(max(COLUMN, width), height), layout="constrained", dpi=72)
    FigureCanvasAgg(figure)
    panel = {"axes_class": LightAxes}
    axes = figure.subplots(rows, columns, squeeze=False, subplot_kw=panel, **options)
    return figure, [list(row) for row in axes]


def colour(ordering: str, orderings: Sequence[str]) -> str:
    """The colour of an ordering: its own, or the next free one among `orderings`."""
    if ordering in _KNOWN:
        return _KNOWN[ordering]
    unknown = [name for name in orderings if name not in _KNOWN]
    return _OTHERS[unknown.index(ordering) % len(_OTHERS)]
