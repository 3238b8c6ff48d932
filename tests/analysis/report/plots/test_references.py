"""The references before alignment, as their figure has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from toy_language import language_run
from toy_rewards import without_supremum

from recalltrap_analysis.report.plots.references import references_plot
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from recalltrap_analysis.report.document.blocks import Plot
    from recalltrap_analysis.verdicts.summary import Summary
    from tests.analysis.conftest import FakeRun, MakeRun


def without(run: FakeRun, *names: str) -> FakeRun:
    """The run without metrics of these names."""
    table = run.tables["metrics"]
    kept = table.filter(pc.invert(pc.is_in(table["metric"], pa.array(names))))
    return replace(run, tables={**run.tables, "metrics": kept})


def shown(run: FakeRun) -> tuple[Plot, Summary]:
    read = ReadRun(run)
    summary = summarize(read)
    return references_plot(read, summary), summary


@pytest.mark.parametrize("supremum", [True, False])
def test_a_reward_without_a_target_is_asked_for_none(make_run: MakeRun, supremum: bool) -> None:
    """With a declared supremum, as `sentiment` has, or without one, as `length`."""
    run = language_run(make_run(seeds=2), seeds=2)
    run = without(run, "hit_rate", "target_precision") if supremum else without_supremum(run)
    plot, summary = shown(run)
    assert plot.figure is not None
    assert "no target" in plot.caption
    assert "Overall recall and reward of p' and p''; mean rewards 4.2" in plot.alternative
    assert set(run.sql(plot.query).to_pandas()["metric"]) == {"overall_recall", "reward"}
    assert not [line for line in summary.lacks if "hit_rate" in line or "target" in line]
    assert not [line for line in summary.lacks if "supremum" in line]


def test_what_a_target_would_tell_is_missed_where_some_of_it_is_told(make_run: MakeRun) -> None:
    whole = language_run(make_run(seeds=2), seeds=2)
    plot, summary = shown(whole)
    assert "a low hit rate the sampling trap" in plot.caption
    assert "mean hit rates 0.01" in plot.alternative
    assert summary.lacks == ()
    plot, summary = shown(without(whole, "hit_rate"))
    assert plot.figure is None
    (line,) = summary.lacks
    assert line == "hit_rate of p', p'': no finite value in any cell"
    (line,) = shown(without(whole, "reward_supremum"))[1].lacks
    assert line.startswith("reward_supremum of p', p''")
