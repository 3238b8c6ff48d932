"""The figures of the effects say what the table's readings say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from matplotlib.collections import LineCollection

from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.order_effect import order_effect_plot
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.margin import LARGER
from recalltrap_analysis.verdicts.grid_points import concluded_signs
from recalltrap_analysis.verdicts.summary import summarize
from tests.analysis.judging import with_severity

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

GRID = {"kl_weight": (0.5, 1.0, 2.0), "student_components": (4, 3)}


def border(plot: Plot, panel: int) -> set[float]:
    """Columns at which the border of what is larger runs."""
    assert plot.figure is not None
    axes = plot.figure.axes[panel]
    [lines] = [c for c in axes.collections if c.get_label() == "larger"]
    assert isinstance(lines, LineCollection)
    return {float(x) for segment in lines.get_segments() for x, _ in segment}


def test_each_map_borders_what_its_readings_call_larger(make_run: MakeRun) -> None:
    run = make_run(
        grid=GRID, seeds=8, orderings=("K-A", "A-K", "K-A@p'"),
        order_effect=lambda p: {0.5: 0.0, 1.0: 0.1, 2.0: 0.4}[p["kl_weight"]],
    )  # fmt: skip
    run = with_severity(run, lambda p: {0.5: 0.0, 1.0: 0.02, 2.0: 0.2}[p["kl_weight"]])
    summary = summarize(run)
    # Intervals that exclude 0 don't draw a border: the readings on the margin do.
    table = summary.order_effect.assign(order_effect_low=0.01, severity_low=0.01)
    plot = order_effect_plot(ReadRun(run), replace(summary, order_effect=table))
    assert plot is not None
    assert set(table[table["words"] == LARGER]["kl_weight"]) == {1.0, 2.0}
    assert border(plot, 0) == {0.5, 1.5, 2.5}
    assert set(table[table["severity_words"] == LARGER]["kl_weight"]) == {2.0}
    assert border(plot, 1) == {1.5, 2.5}
    assert "order effect larger than the margin at 4 of 6" in plot.alternative
    assert "severity larger than the margin at 2 of 6" in plot.alternative


@pytest.mark.slow
def test_an_estimate_is_said_to_be_one(make_run: MakeRun) -> None:
    plot = order_effect_plot(ReadRun(run := make_run(grid=GRID, seeds=8)), summarize(run))
    assert plot is not None
    assert "severity (estimated from the optima)" in plot.caption


def test_one_grid_point_has_no_figure(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": (1.0,)}, seeds=4)
    assert order_effect_plot(ReadRun(run), summarize(run)) is None


def test_an_incomplete_grid_point_concludes_nothing(make_run: MakeRun) -> None:
    run = make_run(
        grid=GRID, seeds=8, order_effect=lambda p: 0.4,
        missing=lambda o, s, p: o == "A-K" and s == 0 and p["kl_weight"] == 1.0,
    )  # fmt: skip
    table = summarize(run).order_effect
    assert ((concluded_signs(table) == 1) == (table["kl_weight"] != 1.0)).all()
