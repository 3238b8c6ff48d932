"""Readings of grid points: on the margin, adjusted by Holm over the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from recalltrap_analysis.estimates.order_effect import by_point
from recalltrap_analysis.statistics.margin import LARGER, SMALLER, UNDECIDED, WITHIN
from recalltrap_analysis.statistics.paired import holm
from recalltrap_analysis.statistics.student import p_larger
from recalltrap_analysis.verdicts.grid_points import concluded_signs, judged_points
from recalltrap_analysis.verdicts.judgement import Judgement
from recalltrap_analysis.verdicts.summary import summarize
from tests.analysis.judging import judged_by, with_severity

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

CONTROLS = ("K-A", "A-K", "K-A@p'")


def test_readings_hold_both_effects_against_the_margin(make_run: MakeRun) -> None:
    effect = {0.5: 0.0, 1.0: 0.1, 2.0: 0.4, 4.0: -0.4}
    run = make_run(
        grid={"kl_weight": tuple(effect)}, orderings=CONTROLS, noise=0.01,
        order_effect=lambda p: effect[p["kl_weight"]],
    )  # fmt: skip
    run = with_severity(run, lambda p: 0.4 * effect[p["kl_weight"]], noise=0.01)
    table = summarize(run).order_effect
    assert table["words"].tolist() == [WITHIN, LARGER, LARGER, SMALLER]
    assert table["severity_words"].tolist() == [WITHIN, WITHIN, LARGER, SMALLER]
    assert concluded_signs(table).tolist() == [0, 1, 1, -1]
    assert concluded_signs(table, "severity").tolist() == [0, 0, 1, -1]
    wide = summarize(judged_by(run, margin=0.2)).order_effect
    assert wide["words"].tolist() == [WITHIN, WITHIN, LARGER, SMALLER]


def test_more_grid_points_make_a_reading_harder(make_run: MakeRun) -> None:
    """Holm: what one point alone would pass, it may not pass among many."""
    summary = summarize(make_run(order_effect=lambda p: 0.1, noise=0.045, seeds=8))
    groups = by_point(summary.pairs)
    p = np.array(
        [p_larger(groups[point]["order_effect"], 0.05) for point in summary.order_effect["point"]]
    )
    assert (p <= 0.05).sum() > 0
    expected = holm(p) <= 0.05
    assert ((summary.order_effect["words"] == LARGER) == expected).all()


def test_one_seed_concludes_nothing(make_run: MakeRun) -> None:
    table = summarize(make_run(seeds=1, orderings=CONTROLS)).order_effect
    assert set(table["words"]) == {UNDECIDED}
    assert not concluded_signs(table).any()


def test_doubtful_optima_are_not_judged(make_run: MakeRun) -> None:
    summary = summarize(make_run(order_effect=lambda p: 0.4))
    assert set(summary.order_effect["severity_words"]) == {LARGER}
    doubts = {summary.design.points[0]: "unreliable: too few effective samples"}
    judgement: Judgement = summary.judgement
    table = judged_points(summary.order_effect, summary.pairs, summary.design, judgement, doubts)
    assert table["severity_words"].iloc[0] == doubts[summary.design.points[0]]
    assert set(table["severity_words"].iloc[1:]) == {LARGER}
    assert set(table["words"]) == {LARGER}


@pytest.mark.parametrize("seeds", [3, 5])
def test_few_seeds_call_nothing_small(make_run: MakeRun, seeds: int) -> None:
    table = summarize(make_run(order_effect=lambda p: 0.0, noise=0.001, seeds=seeds)).order_effect
    assert set(table["words"]) == {f"not seen in {seeds} seeds"}
