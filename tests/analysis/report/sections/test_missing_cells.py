"""Missing and failed cells, named in the report."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recalltrap_analysis.estimates.missing.cells import count_table, describe, failure_groups
from recalltrap_analysis.report.build import write_report
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun


@pytest.mark.slow
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
