"""Order effect's figures say what the headline says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection

from recalltrap_analysis.report.plots.order_effect import order_effect_plot
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import concluded_signs, summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

GRID = {"kl_weight": (0.5, 1.0, 2.0), "student_components": (4, 3)}


def test_the_map_borders_the_traps_of_the_headline(make_run: MakeRun) -> None:
    run = make_run(grid=GRID, seeds=8, order_effect=lambda p: 0.4 if p["kl_weight"] == 2.0 else 0.0)
    summary = summarize(run)
    # as after an adjustment for many more grid points: every interval still excludes 0
    table = summary.order_effect.assign(order_effect_low=0.01, order_effect_high=0.9)
    signs = concluded_signs(table)
    assert signs.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert " at 2 of 6 grid points" in summary.sentence
    plot = order_effect_plot(ReadRun(run), replace(summary, order_effect=table))
    assert plot is not None
    assert "A trap at 2 of 6 grid points" in plot.alternative
    assert plot.figure is not None
    [lines] = [c for c in plot.figure.axes[0].collections if c.get_label() == "trap"]
    assert isinstance(lines, LineCollection)
    places = {float(x) for segment in lines.get_segments() for x, _ in segment}
    assert places == {1.5, 2.5}  # the last of three columns


def test_one_grid_point_has_no_figure(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": (1.0,)}, seeds=4)
    assert order_effect_plot(ReadRun(run), summarize(run)) is None


def test_an_incomplete_table_concludes_nothing(make_run: MakeRun) -> None:
    table = summarize(make_run(grid=GRID, seeds=8, order_effect=lambda p: 0.4)).order_effect
    assert (concluded_signs(table) == 1).all()
    assert not concluded_signs(table.assign(state="3 of 8 pairs")).any()
    assert not concluded_signs(table.assign(p_holm=np.nan)).any()
