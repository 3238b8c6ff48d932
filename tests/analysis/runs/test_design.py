"""What a study planned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun


def test_plan_keeps_the_order_of_the_grid(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": (2.0, 0.5)}, seeds=2)
    design = Design.of(run.planned(), run.axes)
    assert design.points == ((2.0,), (0.5,))
    assert design.seeds[(0.5,), "A-K"] == (0, 1)
    assert summarize(run).order_effect["kl_weight"].tolist() == [2.0, 0.5]
