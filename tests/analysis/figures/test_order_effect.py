"""Order effect along one axis and over the grid."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from recalltrap_analysis.figures.order_effect import order_effect_line, order_effect_map


def test_order_effect_line_draws_points_intervals_and_gaps() -> None:
    value, low, high = (
        np.array(v) for v in ([0.1, np.nan, 0.4], [-0.1, np.nan, 0.3], [0.2, np.nan, 0.5])
    )
    axes = order_effect_line(
        value, low, high, ["1", "2", "4"], "kl_weight", np.array([0, 0, 1])
    ).axes[0]
    sure, unsure = (line for line in axes.lines if line.get_marker() == "o")
    assert np.asarray(sure.get_ydata()).tolist() == [0.4]
    assert np.asarray(unsure.get_ydata()).tolist() == [0.1]
    bars = next(c for c in axes.collections if isinstance(c, LineCollection))
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[-0.1, 0.2], [0.3, 0.5]]
    assert [text.get_text() for text in axes.texts] == ["incomplete"]
    assert axes.get_xlabel() == "kl_weight"


def test_a_point_is_filled_where_a_trap_was_concluded_whatever_its_interval() -> None:
    value, low, high = np.array([0.3, 0.4]), np.array([0.1, 0.2]), np.array([0.5, 0.6])
    axes = order_effect_line(value, low, high, ["1", "2"], "x", np.array([0.0, 1.0])).axes[0]
    sure, unsure = (line for line in axes.lines if line.get_marker() == "o")
    assert np.asarray(sure.get_xdata()).tolist() == [1]
    assert np.asarray(unsure.get_xdata()).tolist() == [0]


def test_order_effect_map_shows_every_number_and_no_other() -> None:
    value = np.array([[0.1, np.nan], [-0.2, 0.5]])
    axes = order_effect_map(value, ["1", "2"], ["3", "4"], "kl_weight", "components").axes[0]
    assert {text.get_text() for text in axes.texts} == {"0.10", "-0.20", "0.50"}
    image = axes.images[0]
    np.testing.assert_array_equal(np.ma.filled(np.ma.asarray(image.get_array()), np.nan), value)
    assert image.norm.vmin == -0.5
    assert image.norm.vmax == 0.5


def borders(axes: Axes, name: str) -> set[frozenset[tuple[float, float]]]:
    [lines] = [c for c in axes.collections if c.get_label() == name]
    assert isinstance(lines, LineCollection)
    return {frozenset((float(x), float(y)) for x, y in segment) for segment in lines.get_segments()}


def test_order_effect_map_borders_what_was_concluded() -> None:
    value = np.array([[0.0, 0.3, 0.4], [-0.2, 0.0, 0.5]])
    sign = np.array([[0, 1, 1], [-1, 0, 1]])
    axes = order_effect_map(value, ["1", "2", "4"], ["3", "4"], "x", "y", sign).axes[0]
    trap = borders(axes, "trap")
    assert frozenset({(0.5, -0.5), (0.5, 0.5)}) in trap  # between 0.0 and 0.3
    assert frozenset({(0.5, 0.5), (1.5, 0.5)}) in trap  # below 0.3
    assert frozenset({(1.5, -0.5), (1.5, 0.5)}) not in trap  # between 0.3 and 0.4
    assert len(trap) == 8
    assert len(borders(axes, "reversal")) == 4


def test_order_effect_map_without_numbers() -> None:
    figure = order_effect_map(np.full((2, 2), np.nan), ["1", "2"], ["3", "4"], "a", "b")
    assert not figure.axes[0].texts
