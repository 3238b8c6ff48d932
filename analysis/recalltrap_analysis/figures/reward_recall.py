"""What each ordering trades: reward against overall recall, along its KL weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import ScalarFormatter, SymmetricalLogLocator

from recalltrap_analysis.figures.style import (
    FAINT,
    INK,
    MARKERS,
    Array,
    colour,
    new_figure,
    styled,
)
from recalltrap_analysis.figures.tooltips import add_point_tooltip, with_interval

SPANS_DECADES = 4.0
CONTROL_MARKERS = {"A": "^", "K-A@p'": "D"}


@dataclass(frozen=True)
class TracedOrdering:
    """One ordering's curve: N seeds, W KL weights; means and limits over seeds have shape [W].

    `dominated_W`: where some point of another ordering is better in both, in most seeds.
    """

    ordering: str
    labels: Sequence[str]
    recall_NW: Array
    reward_NW: Array
    recall_3W: Array
    """Mean, and the lower and the upper limit of its interval (NaN without one); shape [3, W]."""
    reward_3W: Array
    dominated_W: npt.NDArray[np.bool_]


def reward_recall_figure(
    panels: Sequence[Sequence[TracedOrdering]], titles: Sequence[str], recall: str, reward: str
) -> Figure:
    """One panel per stratum: means with intervals, seeds faint, dominated points open.

    Args:
        panels: The curves of each panel.
        titles: What the strata are called.
        recall: What overall recall is called.
        reward: What the reward is called.
    """
    names = list(dict.fromkeys(curve.ordering for curves in panels for curve in curves))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with styled():
        figure, grid = new_figure(
            7.4 if columns > 1 else 5.2, 0.7 + 3.1 * rows, rows, columns, sharey=True
        )
        places = [axes for row in grid for axes in row]
        for axes, curves, title in zip(places, panels, titles, strict=False):
            for curve in curves:
                _draw(axes, curve, colour(curve.ordering, names), recall, reward)
            _limit(axes, curves)
            axes.set_title(title)
            axes.grid()
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel(reward)
        for place, axes in enumerate(places[: len(panels)]):
            if place + columns >= len(panels):
                axes.set_xlabel(recall)
        handles = [
            Line2D([], [], marker=_marker(n), color=colour(n, names), label=n, ms=5) for n in names
        ]
        handles.append(
            Line2D([], [], marker="o", color=FAINT, mfc="white", lw=0, ms=5, label="dominated")
        )
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _marker(ordering: str) -> str:
    return MARKERS.get(ordering) or CONTROL_MARKERS.get(ordering, "v")


def _draw(axes: Axes, curve: TracedOrdering, tint: str, recall: str, reward: str) -> None:
    seeds_NW2 = np.stack([curve.recall_NW, curve.reward_NW], axis=-1)
    axes.add_collection(LineCollection(list(seeds_NW2), colors=tint, linewidths=0.5, alpha=0.18))
    recall_W, reward_W = curve.recall_3W[0], curve.reward_3W[0]
    axes.plot(recall_W, reward_W, color=tint, lw=1.4)
    axes.hlines(reward_W, curve.recall_3W[1], curve.recall_3W[2], color=tint, lw=1.0)
    axes.vlines(recall_W, curve.reward_3W[1], curve.reward_3W[2], color=tint, lw=1.0)
    for chosen, fill in ((~curve.dominated_W, tint), (curve.dominated_W, "white")):
        axes.plot(recall_W[chosen], reward_W[chosen], _marker(curve.ordering), mec=tint, mfc=fill,
                  ms=5)  # fmt: skip
    for place, label in enumerate(curve.labels):
        x, low, high = curve.recall_3W[:, place]
        y, below, above = curve.reward_3W[:, place]
        words = f"{curve.ordering}, {label}: {recall} {with_interval(x, low, high)}, "
        words += f"{reward} {with_interval(y, below, above)}"
        add_point_tooltip(axes, x, y, words + (", dominated" if curve.dominated_W[place] else ""))
    axes.annotate(curve.labels[-1], (recall_W[-1], reward_W[-1]), (5, 5),
                  textcoords="offset points", fontsize=7, color=INK)  # fmt: skip


def _limit(axes: Axes, curves: Sequence[TracedOrdering]) -> None:
    """Shows all means; a seed whose recall fell much further would press them into a corner.

    Recall falls without end as a model drops modes: where it spans decades, the axis is logarithmic
    in its distance from 0.
    """
    means = np.concatenate([curve.recall_3W[0] for curve in curves])
    low, high = float(means.min()), float(means.max())
    if high < 0 and low < SPANS_DECADES * high:
        axes.set_xscale("symlog", linthresh=-high)
        axes.xaxis.set_major_locator(
            SymmetricalLogLocator(base=10, linthresh=-high, subs=(1, 2, 5))
        )
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlim(1.15 * low, 0.8 * high)
        return
    room = 0.08 * (high - low) or 0.5
    axes.set_xlim(low - room, high + room)
