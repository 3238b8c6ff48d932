"""Light axes against matplotlib's own: what they take up, what they write, where."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from recalltrap_analysis.figures.axes.light_axes import LightAxes
from recalltrap_analysis.figures.style import styled
from recalltrap_analysis.report.two_files import svg_and_pdf


def labelled(axes: Axes) -> None:
    axes.plot([0, 4], [-3e-3, 2e-3])
    axes.set_xlabel("kl_weight")
    axes.set_ylabel("reward")
    axes.grid()


def turned(axes: Axes) -> None:
    axes.set_xticks(range(4), ["0.1", "a long one", "2\nlines", "4"], rotation=35, ha="right")
    axes.set_xlim(-0.5, 2.5)  # the last tick is out of sight


def logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.set_ylim(0.02, 40)
    axes.tick_params(colors="#ff0000", length=2)


def with_an_exponent(axes: Axes) -> None:
    axes.plot([0, 1], [1e9, 3e9])


def drawn(kind: type[Axes], fill: Callable[[Axes], None]) -> tuple[Axes, str]:
    with styled():
        figure = Figure(figsize=(4, 3), dpi=72)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(axes_class=kind)
        fill(axes)
        svg, _ = svg_and_pdf(figure)
    return axes, svg.decode()


def texts(svg: str) -> set[tuple[str, ...]]:
    """Every text of a figure with its place, its anchor and its colour."""
    return set(re.findall(r'<text style="(.*?)"((?: [xy]="[^"]*")*) transform="(.*?)">(.*?)<', svg))


@pytest.mark.parametrize("fill", [labelled, turned, logarithmic, with_an_exponent])
def test_light_axes_say_and_take_up_what_matplotlib_s_own_do(fill: Callable[[Axes], None]) -> None:
    (ours, our_svg), (theirs, their_svg) = drawn(LightAxes, fill), drawn(Axes, fill)
    with styled():
        for axis in ("xaxis", "yaxis"):
            for layout in (False, True):
                ours_box, theirs_box = (
                    Bbox.union([found, axes.bbox]).get_points()
                    for axes in (ours, theirs)
                    for found in [getattr(axes, axis).get_tightbbox(for_layout_only=layout)]
                )
                assert np.abs(ours_box - theirs_box).max() < 0.01
    assert texts(our_svg) == texts(their_svg)
    assert texts(our_svg)


def test_an_axis_makes_no_artist_for_a_tick() -> None:
    axes, _ = drawn(LightAxes, turned)
    assert axes.xaxis.majorTicks == axes.yaxis.minorTicks == []
    words = [label.get_text() for label in axes.get_xticklabels()]
    assert words == ["0.1", "a long one", "2\nlines"]


def test_grid_lines_of_an_axis_are_one_path_from_side_to_side() -> None:
    axes, svg = drawn(LightAxes, labelled)
    grids = re.findall(r'<path d="([^"]*)"[^>]*stroke: #e4e4e4', svg)
    assert len(grids) == 2
    left, right = axes.bbox.x0, axes.bbox.x1
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", grids[1])][0::2]
    assert sorted(set(numbers)) == pytest.approx([left, right], abs=1e-3)
