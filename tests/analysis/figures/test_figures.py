from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from recalltrap_analysis import figures
from recalltrap_analysis.estimates.trajectories import Way
from recalltrap_analysis.figures.contours import mixture_density


def box_count(axes: Axes) -> int:
    groups = [c for c in axes.collections if isinstance(c, PolyCollection)]
    return sum(len(group.get_paths()) for group in groups)


def medians(axes: Axes) -> list[float]:
    """Heights of the medians, the only lines of that width."""
    groups = [c for c in axes.collections if isinstance(c, LineCollection)]
    return [
        float(segment[0][1])
        for group in groups
        if group.get_linewidth() == [1.2]
        for segment in group.get_segments()
    ]


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
    panels = figures.BoxPanels(
        ["reward", "recall"], ["a 1", "a 2"], ["x", "y", "z"], ["K-A", "A-K", "own $name$"], "b",
        values,
    )  # fmt: skip
    figure = figures.boxplots(panels)
    assert len(figure.axes) == 4
    first, second = figure.axes[0], figure.axes[1]
    assert box_count(first) == 8
    assert box_count(second) == 9
    expected = [np.median(values[0, 1, p, o]) for o in panels.orderings for p in range(3)]
    assert medians(second) == pytest.approx(expected)
    assert [label.get_text() for label in figure.axes[2].get_xticklabels()] == ["x", "y", "z"]
    assert first.get_title() == "a 1"
    assert b"own $name$" in figures.render(figure, "svg", "boxes")


def test_reference_check_joins_the_seeds() -> None:
    recall = (np.array([-2.0, -2.1]), np.array([-3.0, -3.5]))
    hits = (np.array([0.04, 0.05]), np.array([0.01, 0.02]))
    figure = figures.reference_check(["all"], [recall], [hits])
    [lines] = [
        found
        for found in figure.axes[0].collections
        if isinstance(found, LineCollection) and found.get_linewidth() == [0.5]
    ]
    joins = [tuple(segment[:, 1].tolist()) for segment in lines.get_segments()]
    assert joins == [(-2.0, -3.0), (-2.1, -3.5)]
    assert medians(figure.axes[1]) == pytest.approx([0.045, 0.015])


def test_severity_line_draws_points_intervals_and_gaps() -> None:
    value, low, high = (
        np.array(v) for v in ([0.1, np.nan, 0.4], [-0.1, np.nan, 0.3], [0.2, np.nan, 0.5])
    )
    axes = figures.severity_line(value, low, high, ["1", "2", "4"], "kl_weight").axes[0]
    sure, unsure = (line for line in axes.lines if line.get_marker() == "o")
    assert np.asarray(sure.get_ydata()).tolist() == [0.4]
    assert np.asarray(unsure.get_ydata()).tolist() == [0.1]
    bars = next(c for c in axes.collections if isinstance(c, LineCollection))
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[-0.1, 0.2], [0.3, 0.5]]
    assert [text.get_text() for text in axes.texts] == ["incomplete"]
    assert axes.get_xlabel() == "kl_weight"


def test_severity_map_shows_every_number_and_no_other() -> None:
    value = np.array([[0.1, np.nan], [-0.2, 0.5]])
    axes = figures.severity_map(value, ["1", "2"], ["3", "4"], "kl_weight", "components").axes[0]
    assert {text.get_text() for text in axes.texts} == {"0.10", "-0.20", "0.50"}
    image = axes.images[0]
    np.testing.assert_array_equal(np.ma.filled(np.ma.asarray(image.get_array()), np.nan), value)
    assert image.norm.vmin == -0.5
    assert image.norm.vmax == 0.5


def borders(axes: Axes, name: str) -> set[frozenset[tuple[float, float]]]:
    [lines] = [c for c in axes.collections if c.get_label() == name]
    assert isinstance(lines, LineCollection)
    return {frozenset((float(x), float(y)) for x, y in segment) for segment in lines.get_segments()}


def test_severity_map_borders_where_the_interval_excludes_zero() -> None:
    value = np.array([[0.0, 0.3, 0.4], [-0.2, 0.0, 0.5]])
    sign = np.array([[0, 1, 1], [-1, 0, 1]])
    axes = figures.severity_map(value, ["1", "2", "4"], ["3", "4"], "x", "y", sign).axes[0]
    trap = borders(axes, "trap")
    assert frozenset({(0.5, -0.5), (0.5, 0.5)}) in trap  # between 0.0 and 0.3
    assert frozenset({(0.5, 0.5), (1.5, 0.5)}) in trap  # below 0.3
    assert frozenset({(1.5, -0.5), (1.5, 0.5)}) not in trap  # between 0.3 and 0.4
    assert len(trap) == 8
    assert len(borders(axes, "reversal")) == 4


def test_severity_map_without_numbers() -> None:
    figure = figures.severity_map(np.full((2, 2), np.nan), ["1", "2"], ["3", "4"], "a", "b")
    assert not figure.axes[0].texts


def test_bars_stack_to_the_severity() -> None:
    parts = {"reference": np.array([0.3, 0.1]), "optimiser_ka": np.array([-0.1, 0.2])}
    severity = np.array([0.2, 0.3])
    figure = figures.decomposition_bars(parts, severity, ["one", "two"], {"reference": "ref"})
    axes = figure.axes[0]
    bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
    assert [bar.get_x() for bar in bars] == pytest.approx([0, 0, 0, 0.1])
    assert [bar.get_width() for bar in bars] == pytest.approx([0.3, 0.1, -0.1, 0.2])
    diamonds = next(line for line in axes.lines if line.get_marker() == "D")
    assert np.asarray(diamonds.get_xdata()).tolist() == [0.2, 0.3]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]


@pytest.mark.parametrize("controls", [{}, {"K-A-K": (0.5, 0.4, 0.6), "A": (0.7, np.nan, np.nan)}])
def test_waterfall_climbs_from_one_attainment_to_the_other(
    controls: dict[str, tuple[float, float, float]],
) -> None:
    parts = {
        "optimiser_ka": (-0.1, -0.2, 0.0), "reference": (0.4, 0.3, 0.5),
        "optimiser_ak": (0.05, np.nan, np.nan), "last_distillation": (0.1, 0.05, 0.15),
    }  # fmt: skip
    fall = figures.Waterfall("where", (0.3, 0.2, 0.4), parts, (0.75, 0.7, 0.8), controls)
    axes = figures.waterfalls([fall] * 3, {}).axes[0]
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [bar.get_y() for bar in bars[:5]] == pytest.approx([0, 0.3, 0.2, 0.6, 0.65])
    assert [bar.get_height() for bar in bars[:6]] == pytest.approx(
        [0.3, -0.1, 0.4, 0.05, 0.1, 0.75]
    )
    assert bars[4].get_y() + bars[4].get_height() == pytest.approx(0.75)
    labels = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
    assert labels == ["K-A", "A-K", *controls]
    assert sum(bar.get_hatch() is not None and bar.get_hatch() != "" for bar in bars) == len(
        controls
    )


def test_trajectories_grow_with_the_spread_over_seeds() -> None:
    way = Way("K-A", ["p'", "p''", "p''_KA"], np.array([-2.0, -3.0, -4.0]),
              np.array([-30.0, -31.0, -10.0]), np.array([0.0, 1.0, 4.0]), 5)  # fmt: skip
    figure = figures.trajectories({(0, 0): [way]}, ["target precision"], ["here"])
    axes = figure.axes[0]
    wide = next(c for c in axes.collections if isinstance(c, PathCollection))
    np.testing.assert_allclose(np.asarray(wide.get_offsets()), np.stack([way.x_M, way.y_M], axis=1))
    sizes = wide.get_sizes()
    assert sizes[0] < sizes[1] < sizes[2]
    assert (sizes[2] - sizes[0]) / (sizes[1] - sizes[0]) == pytest.approx(4)  # area, not radius
    assert {"p''", "p''_KA"} <= {text.get_text() for text in axes.texts}
    arrows = [text for text in axes.texts if text.get_text() == ""]
    assert len(arrows) == 2


def test_forecast_scatter_draws_every_cell() -> None:
    predicted = {"K-A": np.array([1.0, 2.0]), "A-K": np.array([3.0])}
    reached = {"K-A": np.array([1.1, 2.2]), "A-K": np.array([2.5])}
    axes = figures.forecast_scatter(predicted, reached, {}).axes[0]
    points = {
        line.get_label(): (
            np.asarray(line.get_xdata()).tolist(),
            np.asarray(line.get_ydata()).tolist(),
        )
        for line in axes.lines
        if line.get_label() in predicted
    }
    assert points == {"K-A": ([1.0, 2.0], [1.1, 2.2]), "A-K": ([3.0], [2.5])}


@pytest.fixture
def tilted() -> figures.Mixture:
    return figures.Mixture(
        "tilted",
        np.array([0.7, 0.3]),
        np.array([[0.5, -0.5], [-1.0, 1.0]]),
        np.array([[0.4, 0.3, 0.2], [0.25, 0.0, 0.25]]),
    )


def test_density_integrates_to_one_and_has_the_covariance(tilted: figures.Mixture) -> None:
    side = np.linspace(-4, 4, 401)
    x, y = np.meshgrid(side, side)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    cell = (side[1] - side[0]) ** 2
    density = mixture_density(tilted, points)
    assert density.sum() * cell == pytest.approx(1, abs=1e-6)
    one = figures.Mixture("one", np.ones(1), np.zeros((1, 2)), tilted.cholesky_K3[:1])
    density = mixture_density(one, points) * cell
    lower = np.array([[0.4, 0.0], [0.3, 0.2]])
    found = np.einsum("p,pi,pj->ij", density, points, points)
    np.testing.assert_allclose(found, lower @ lower.T, atol=1e-6)


def test_contours_draw_means_and_targets(tilted: figures.Mixture) -> None:
    figure = figures.contour_panels([tilted] * 5, circles=np.array([[1.0, -1.0]]), radius=0.3)
    titled = [axes for axes in figure.axes if axes.get_title()]
    assert len(titled) == 5
    dots = next(c for c in titled[0].collections if isinstance(c, PathCollection))
    np.testing.assert_allclose(np.asarray(dots.get_offsets()), tilted.means_K2)
    ring = np.stack(
        [np.asarray(titled[0].lines[0].get_xdata()), np.asarray(titled[0].lines[0].get_ydata())]
    )
    assert np.hypot(ring[0] - 1, ring[1] + 1) == pytest.approx(0.3)


def small_figure() -> Figure:
    return figures.severity_line(np.array([0.1]), np.array([0.0]), np.array([0.2]), ["<&>"], "a")


def test_files_are_the_same_for_the_same_numbers(tmp_path: Path) -> None:
    first = figures.save(small_figure(), tmp_path / "a", "severity")
    second = figures.save(small_figure(), tmp_path / "b", "severity")
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
    assert [path.name for path in first] == ["severity.svg", "severity.pdf"]
    assert first[1].read_bytes().startswith(b"%PDF")


def test_inline_svg_is_well_formed_and_keeps_its_ids_apart() -> None:
    svg = figures.render(small_figure(), "svg", "severity")
    element = ElementTree.fromstring(figures.inline_svg(svg, "severity", 'a "quoted" <text>'))
    assert element.get("aria-label") == 'a "quoted" <text>'
    ids = [node.get("id") for node in element.iter() if node.get("id")]
    assert ids
    assert all(str(name).startswith("severity-") for name in ids)
    links = [
        value for node in element.iter() for key, value in node.items() if key.endswith("href")
    ]
    assert {link.removeprefix("#") for link in links} <= set(ids)
