"""Reward against recall: means, intervals, and open points where another ordering dominates."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from recalltrap_analysis.figures.reward_recall import TracedOrdering, reward_recall_figure


def traced(ordering: str, recall: list[float], dominated: list[bool]) -> TracedOrdering:
    recall_W, reward_W = np.array(recall), np.arange(len(recall), 0, -1.0)
    limits = [-0.1, 0.1]
    return TracedOrdering(
        ordering,
        [f"{place}" for place in range(len(recall))],
        np.stack([recall_W, recall_W - 50]),
        np.stack([reward_W, reward_W]),
        np.stack([recall_W, *(recall_W + limit for limit in limits)]),
        np.stack([reward_W, *(reward_W + limit for limit in limits)]),
        np.array(dominated),
    )


def marked(axes: Axes, marker: str, fill: str) -> list[float]:
    lines = [one for one in axes.lines if one.get_marker() == marker]
    return [
        float(x)
        for line in lines
        if (line.get_markerfacecolor() == "white") == (fill == "open")
        for x in np.asarray(line.get_xdata())
    ]


def test_points_are_open_where_dominated() -> None:
    curves = [traced("K-A", [-4, -3, -2], [True, False, False]),
              traced("A-K", [-3.5, -2.5, -1.5], [False, False, True])]  # fmt: skip
    figure = reward_recall_figure([curves], ["sharp"], "recall", "reward")
    axes = figure.axes[0]
    assert marked(axes, "o", "open") == [-4]
    assert marked(axes, "o", "filled") == [-3, -2]
    assert marked(axes, "s", "open") == [-1.5]
    assert [text.get_text() for text in axes.texts] == ["2", "2"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("recall", "reward", "sharp")
    low, high = axes.get_xlim()
    assert -5 < low < -4, "a seed far to the left moves no axis"
    assert high > -1.5


def test_recall_over_decades_is_logarithmic_and_panels_are_many() -> None:
    near, far = [traced("K-A", [-3, -2], [False] * 2)], [traced("A", [-60, -2], [False] * 2)]
    figure = reward_recall_figure([near, far, near], ["a", "b", "c"], "recall", "reward")
    scales = [axes.get_xscale() for axes in figure.axes if axes.get_visible()]
    assert scales == ["linear", "symlog", "linear"]
