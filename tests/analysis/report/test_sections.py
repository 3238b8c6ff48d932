"""What stands in the report's sections: gaps, thinned grids, tables."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from recalltrap_analysis.estimates.missing_cells import count_table, describe, failure_groups
from recalltrap_analysis.report.build import write_report
from recalltrap_analysis.report.document import grid
from recalltrap_analysis.report.plots.panels import (
    box_panels,
    reference_groups,
    sweep_axis,
    thin,
    typical_pair,
)
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun


def test_failures_and_missing_cells_are_named(make_run: MakeRun) -> None:
    run = make_run(
        failing=lambda o, s, p: o == "A-K" and s in (1, 2, 5) and p["kl_weight"] == 2.0,
        missing=lambda o, s, p: o == "K-A" and s == 7,
    )
    summary = summarize(run)
    counts = count_table(summary.cells, summary.statuses).set_index("ordering")
    assert counts.loc["A-K"].to_dict() == {
        "planned": 30, "succeeded": 27, "failed": 3, "missing": 0,
    }  # fmt: skip
    assert counts.loc["K-A", "missing"] == 3
    failures = run.table("failures").to_pandas()
    [group] = failure_groups(failures, summary.cells, summary.axes, summary.statuses)
    assert group.cells == 3
    assert group.where == "A-K, kl_weight 2: seeds 1–2, 5"
    words = unescape(Path(write_report(run)).read_text())
    assert "loss <became> NaN" in words
    assert "recalltrap run fake" in words
    assert "K-A, kl_weight 0.5: seed 7" in words


def test_repaired_failures_are_not_shown(make_run: MakeRun) -> None:
    broken = make_run(failing=lambda o, s, p: s == 1)
    repaired = make_run()
    summary = summarize(repaired)
    failures = broken.table("failures").to_pandas()
    assert not failure_groups(failures, summary.cells, summary.axes, summary.statuses)


def test_long_lists_of_cells_are_cut(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": tuple(range(1, 40))}, seeds=2)
    lines = describe(run.planned(), run.axes, most=30)
    assert len(lines) == 31
    assert lines[-1] == "and 48 more settings"


def test_large_grids_are_thinned(make_run: MakeRun) -> None:
    grid = {
        "student_components": (2, 3, 4),
        "kl_weight": tuple(0.1 * i for i in range(1, 15)),
        "teacher_sharpness": (1.25, 2.5, 5.0, 10.0),
    }
    run = make_run(grid=grid, seeds=2)
    summary = summarize(run)
    assert sweep_axis(summary.design) == "kl_weight"
    panels, note = box_panels(summary.outcomes, summary.design)
    assert len(panels.columns) == 4
    assert len(panels.positions) == 12
    assert "4 of 12 combinations of the other axes are shown" in note
    labels, recall, _, _ = reference_groups(summary.outcomes, summary.design)
    assert len(labels) == 1  # the invented references don't depend on the setting
    assert recall[0][0].shape == (2,)
    assert thin(range(10), 3) == [0, 4, 9]


def test_the_typical_seed_is_the_median_one(make_run: MakeRun) -> None:
    summary = summarize(make_run(severity=lambda p: 0.1 * p["kl_weight"], seeds=9, noise=0.05))
    found = typical_pair(summary.pairs, summary.severity)
    assert found is not None
    point, seed = found
    assert point == (2.0,)
    rows = summary.pairs[[p == point for p in summary.pairs["point"]]].set_index("seed")
    assert rows["severity"][seed] == rows["severity"].median()


def test_plan_keeps_the_order_of_the_grid(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": (2.0, 0.5)}, seeds=2)
    design = Design.of(run.planned(), run.axes)
    assert design.points == ((2.0,), (0.5,))
    assert design.seeds[(0.5,), "A-K"] == (0, 1)
    assert summarize(run).severity["kl_weight"].tolist() == [2.0, 0.5]


def test_rows_beyond_the_first_fold_away() -> None:
    frame = pd.DataFrame({"x": range(30), "name": ["a"] * 30})
    table = grid("some", frame, order=list(range(29, -1, -1)))
    assert [row[0] for row in table.shown] == [str(i) for i in range(6, 30)]
    assert len(table.rows) == 30
    assert table.words == [False, True]
