"""Effects along one axis and over the grid."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from recalltrap_analysis.figures.order_effect import Effect, effect_lines, effect_maps
from recalltrap_analysis.figures.style import Array


def effect(value: Array, sign: Array | None = None, title: str = "order effect") -> Effect:
    """Without intervals."""
    nothing = np.full(value.shape, np.nan)
    return Effect(title, value, nothing, nothing, np.zeros(value.shape) if sign is None else sign)


def test_lines_draw_points_intervals_and_gaps() -> None:
    value, low, high = (
        np.array(v) for v in ([0.1, np.nan, 0.4], [-0.1, np.nan, 0.3], [0.2, np.nan, 0.5])
    )
    drawn = Effect("order effect", value, low, high, np.array([0.0, 0.0, 1.0]))
    axes = effect_lines([drawn], ["1", "2", "4"], "kl_weight").axes[0]
    sure, unsure = (line for line in axes.lines if line.get_marker() == "o")
    assert np.asarray(sure.get_ydata()).tolist() == [0.4]
    assert np.asarray(unsure.get_ydata()).tolist() == [0.1]
    bars = next(c for c in axes.collections if isinstance(c, LineCollection))
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[-0.1, 0.2], [0.3, 0.5]]
    assert [text.get_text() for text in axes.texts] == ["incomplete"]
    assert axes.get_xlabel() == "kl_weight"


def test_a_point_is_filled_where_something_was_concluded_whatever_its_interval() -> None:
    value, low, high = np.array([0.3, 0.4]), np.array([0.1, 0.2]), np.array([0.5, 0.6])
    drawn = Effect("severity", value, low, high, np.array([0.0, 1.0]))
    axes = effect_lines([drawn], ["1", "2"], "x").axes[0]
    sure, unsure = (line for line in axes.lines if line.get_marker() == "o")
    assert np.asarray(sure.get_xdata()).tolist() == [1]
    assert np.asarray(unsure.get_xdata()).tolist() == [0]


def test_two_effects_have_a_panel_each_and_one_scale() -> None:
    value = np.array([0.1, 0.4])
    both = [effect(value), effect(value / 2, title="severity (estimated from the optima)")]
    upper, lower = effect_lines(both, ["1", "2"], "x").axes
    assert [panel.get_ylabel() for panel in (upper, lower)] == [
        "order effect",
        "severity\n(estimated from the optima)",
    ]
    assert upper.get_ylim() == lower.get_ylim()
    maps = effect_maps(
        [effect(value[None, :]), effect(value[None, :] / 2)], ["1", "2"], ["3"], "x", "y"
    )
    images = [panel.images[0] for panel in maps.axes[:2]]
    assert {(image.norm.vmin, image.norm.vmax) for image in images} == {(-0.4, 0.4)}


def test_map_shows_every_number_and_no_other() -> None:
    value = np.array([[0.1, np.nan], [-0.2, 0.5]])
    axes = effect_maps([effect(value)], ["1", "2"], ["3", "4"], "kl_weight", "components").axes[0]
    assert {text.get_text() for text in axes.texts} == {"0.10", "-0.20", "0.50"}
    image = axes.images[0]
    np.testing.assert_array_equal(np.ma.filled(np.ma.asarray(image.get_array()), np.nan), value)
    assert image.norm.vmin == -0.5
    assert image.norm.vmax == 0.5


def borders(axes: Axes, name: str) -> set[frozenset[tuple[float, float]]]:
    [lines] = [c for c in axes.collections if c.get_label() == name]
    assert isinstance(lines, LineCollection)
    return {frozenset((float(x), float(y)) for x, y in segment) for segment in lines.get_segments()}


def test_map_borders_what_was_concluded() -> None:
    value = np.array([[0.0, 0.3, 0.4], [-0.2, 0.0, 0.5]])
    sign = np.array([[0.0, 1.0, 1.0], [-1.0, 0.0, 1.0]])
    axes = effect_maps([effect(value, sign)], ["1", "2", "4"], ["3", "4"], "x", "y").axes[0]
    larger = borders(axes, "larger")
    assert frozenset({(0.5, -0.5), (0.5, 0.5)}) in larger  # between 0.0 and 0.3
    assert frozenset({(0.5, 0.5), (1.5, 0.5)}) in larger  # below 0.3
    assert frozenset({(1.5, -0.5), (1.5, 0.5)}) not in larger  # between 0.3 and 0.4
    assert len(larger) == 8
    assert len(borders(axes, "smaller")) == 4


def test_map_without_numbers() -> None:
    figure = effect_maps([effect(np.full((2, 2), np.nan))], ["1", "2"], ["3", "4"], "a", "b")
    assert not figure.axes[0].texts
