"""Which grid points a figure shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recalltrap_analysis.estimates.references import reference_rows
from recalltrap_analysis.report.plots.boxplots import box_panels
from recalltrap_analysis.report.plots.grid_points import sweep_axis, thin
from recalltrap_analysis.report.plots.references import reference_groups
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun


@pytest.mark.slow
def test_large_grids_are_thinned(make_run: MakeRun) -> None:
    grid = {
        "student_components": (2, 3, 4),
        "kl_weight": tuple(0.1 * i for i in range(1, 15)),
        "teacher_sharpness": (1.25, 2.5, 5.0, 10.0),
    }
    run = make_run(grid=grid, seeds=2)
    summary = summarize(run)
    assert sweep_axis(summary.design) == "kl_weight"
    panels, note = box_panels(summary.outcomes, summary.design, {"reward": "reward"})
    assert len(panels.columns) == 4
    assert len(panels.positions) == 12
    assert "4 of 12 combinations of the other axes are shown" in note
    found = reference_rows(summary.outcomes, summary.design.axes)
    labels, recall, _, _ = reference_groups(found, summary.design)
    assert len(labels) == 1  # the invented references don't depend on the setting
    assert recall[0][0].shape == (2,)
    assert thin(range(10), 3) == [0, 4, 9]
