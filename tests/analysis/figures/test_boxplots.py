"""Boxplots over seeds."""

from __future__ import annotations

import numpy as np
import pytest

from recalltrap_analysis.figures.boxplots import BoxPanels, boxplots
from recalltrap_analysis.report.rendering import render
from tests.analysis.figures.drawn_boxes import box_count, medians


def test_boxplots_draw_the_values() -> None:
    generator = np.random.default_rng(0)
    values = {
        (row, column, position, ordering): generator.normal(size=7)
        for row in range(2)
        for column in range(2)
        for position in range(3)
        for ordering in ("K-A", "A-K", "own $name$")
    }
    values[0, 0, 1, "A-K"] = np.zeros(0)
    panels = BoxPanels(
        ["reward", "recall"], ["a 1", "a 2"], ["x", "y", "z"], ["K-A", "A-K", "own $name$"], "b",
        values,
    )  # fmt: skip
    figure = boxplots(panels)
    assert len(figure.axes) == 4
    first, second = figure.axes[0], figure.axes[1]
    assert box_count(first) == 8
    assert box_count(second) == 9
    expected = [np.median(values[0, 1, p, o]) for o in panels.orderings for p in range(3)]
    assert medians(second) == pytest.approx(expected)
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == ["x", "y", "z"]
    assert first.get_title() == "a 1"
    assert b"own $name$" in render(figure, "boxes")[0]
