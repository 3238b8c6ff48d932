"""Reward against KL: frontiers as lines, with marks, and shade where they can't be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from recalltrap_analysis.figures.style import Array, new_figure, styled
from recalltrap_analysis.figures.tooltips import add_point_tooltip


@dataclass(frozen=True)
class FrontierLine:
    """One line of a panel; `words` tell each point of it that has a tooltip, by its place."""

    label: str
    tint: str
    dashed: bool
    kl_P: Array
    reward_P: Array
    words: Sequence[tuple[int, str]]
    marked: bool = False
    """Whether those points have a mark, too."""


@dataclass(frozen=True)
class FrontierPanel:
    """The lines of one pair of references; `shaded`: label, colour and the ranges of KL."""

    title: str
    lines: Sequence[FrontierLine]
    shaded: Sequence[tuple[str, str, Sequence[tuple[float, float]]]]


def reward_over_kl(panels: Sequence[FrontierPanel]) -> Figure:
    """One panel per pair of references: the reward that each way gives at each KL, in nats."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with styled():
        figure, grid = new_figure(7.4, 1.2 + 3.0 * rows, rows, columns)
        places = [axes for row in grid for axes in row]
        handles: dict[str, Artist] = {}
        for axes, panel in zip(places, panels, strict=False):
            handles |= _draw(axes, panel)
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=2)
    return figure


def _draw(axes: Axes, panel: FrontierPanel) -> dict[str, Artist]:
    handles: dict[str, Artist] = {}
    for line in panel.lines:
        style = "--" if line.dashed else "-"
        (drawn,) = axes.plot(line.kl_P, line.reward_P, style, color=line.tint)
        handles[line.label] = drawn
        for place, words in line.words:
            x, y = float(line.kl_P[place]), float(line.reward_P[place])
            if line.marked:
                axes.plot([x], [y], "o", color=line.tint, ms=4.5)
            add_point_tooltip(axes, x, y, words)
    for number, (label, tint, ranges) in enumerate(panel.shaded):
        hatch = ("///", "\\\\\\")[number % 2]
        for left, right in ranges:
            axes.axvspan(left, right, facecolor=tint, alpha=0.10, lw=0)
            axes.axvspan(left, right, facecolor="none", edgecolor=tint, alpha=0.25, hatch=hatch,
                         lw=0)  # fmt: skip
        if ranges:
            handles[label] = Patch(facecolor=tint, alpha=0.3, hatch=hatch)
    axes.set_title(panel.title)
    axes.set_xlabel("KL from the anchor, nats")
    axes.set_ylabel("reward")
    axes.set_xlim(left=0)
    axes.grid(axis="y")
    return handles
