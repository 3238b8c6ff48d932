"""Two orderings at equal KL weight, at equal recall and within a recall budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from recalltrap_analysis.estimates.contrasts import (
    BEST_GRID_POINT,
    EQUAL_KL_WEIGHT,
    EQUAL_RECALL,
    WITHIN_BUDGET,
    default_contrasts,
    fair_comparisons,
)
from recalltrap_analysis.verdicts.summary import Summary, summarize
from tests.analysis.conftest import REWARD_HEIGHT

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

WEIGHTS = (1.0, 2.0, 3.0, 4.0, 5.0)
LEAD, SHIFT = 0.1, 0.5


def with_known_curves(summary: Summary) -> pd.DataFrame:
    """K-A loses 0.1 of attainment per nat of recall; A-K lies `LEAD` above that line.

    A-K's points have `SHIFT` nats more recall at the same weight.
    """
    outcomes = summary.outcomes.copy()
    shift = np.where(outcomes["ordering"] == "A-K", SHIFT, 0.0)
    lead = np.where(outcomes["ordering"] == "A-K", LEAD, 0.0)
    place = outcomes["kl_weight"].to_numpy(dtype=float) + shift
    start = outcomes["p_second.reward"].to_numpy()
    attained = 1 - 0.1 * place + lead
    outcomes["final.reward"] = start + attained * (REWARD_HEIGHT - start)
    outcomes["final.overall_recall"] = -10 + place
    outcomes["p_prime.overall_recall"] = -4.6
    return outcomes


def rows_of(table: pd.DataFrame, comparison: str, metric: str = "attainment") -> pd.DataFrame:
    return table[(table["comparison"] == comparison) & (table["metric"] == metric)]


def compared(summary: Summary, outcomes: pd.DataFrame, budget: float = 2.0) -> pd.DataFrame:
    contrasts = default_contrasts(
        list({cell.ordering.name: cell.ordering for cell in summary.cells}.values())
    )
    return fair_comparisons(outcomes, summary.design, "kl_weight", contrasts, budget)


def test_known_curves_are_read_both_ways(make_run: MakeRun) -> None:
    summary = summarize(make_run(grid={"kl_weight": WEIGHTS}))
    table = compared(summary, with_known_curves(summary))
    equal_weight = rows_of(table, EQUAL_KL_WEIGHT)["value"].to_numpy()
    np.testing.assert_allclose(equal_weight, LEAD - 0.1 * SHIFT, atol=1e-9)
    interpolated = rows_of(table, EQUAL_RECALL)
    np.testing.assert_allclose(interpolated["value"], [LEAD] * 4 + [np.nan], atol=1e-9)
    assert interpolated["n"].tolist() == [10, 10, 10, 10, 0]
    assert interpolated["state"].tolist()[-1] == "no seed has anything to compare with"
    grid = rows_of(table, BEST_GRID_POINT)["value"]
    np.testing.assert_allclose(grid, [LEAD + 0.1 * SHIFT] * 4 + [np.nan], atol=1e-9)
    assert set(rows_of(table, BEST_GRID_POINT)["dominated"]) == {0}


def test_budget_gives_each_ordering_its_own_weight(make_run: MakeRun) -> None:
    summary = summarize(make_run(grid={"kl_weight": WEIGHTS}))
    outcomes = with_known_curves(summary)
    [row] = rows_of(compared(summary, outcomes, 2.4), WITHIN_BUDGET).to_dict("records")
    # Recall at least -7: K-A from weight 3 on, A-K too, at half a nat more.
    assert row["value"] == pytest.approx(LEAD - 0.1 * SHIFT)
    assert row["n"] == 10
    assert row["note"].count("median weight 3") == 2
    [row] = rows_of(compared(summary, outcomes, budget=0.3), WITHIN_BUDGET).to_dict("records")
    assert row["n"] == 0
    assert row["state"] == "no seed has both orderings within it"
    assert row["note"] == (
        "A-K within it in 10 of 10 seeds, median weight 5; K-A within it in 0 of 10 seeds"
    )


def test_dominated_seeds_are_counted(make_run: MakeRun) -> None:
    summary = summarize(make_run(grid={"kl_weight": WEIGHTS}))
    outcomes = with_known_curves(summary)
    worse = (outcomes["ordering"] == "A-K") & (outcomes["seed"] < 4)
    outcomes.loc[worse, "final.reward"] -= 5.0
    found = rows_of(compared(summary, outcomes), BEST_GRID_POINT)
    assert found["dominated"].tolist() == [4, 4, 4, 4, 0]
    assert {type(count) for count in found["dominated"]} == {int}


def test_one_weight_has_one_comparison(make_run: MakeRun) -> None:
    for grid in ({"kl_weight": (1.0,)}, {"teacher_sharpness": (1.25, 10.0)}):
        summary = summarize(make_run(grid=grid))
        table = compared(summary, summary.outcomes)
        assert set(table["comparison"]) == {EQUAL_KL_WEIGHT}
        assert table["value"].notna().all()


def test_strata_never_meet(make_run: MakeRun) -> None:
    grid: dict[str, tuple[Any, ...]] = {"kl_weight": WEIGHTS, "teacher_sharpness": (1.25, 10.0)}
    summary = summarize(make_run(grid=grid))
    outcomes = with_known_curves(summary)
    sharp = (outcomes["teacher_sharpness"] == 10.0) & (outcomes["ordering"] == "K-A")
    outcomes.loc[sharp, "final.reward"] = REWARD_HEIGHT
    table = rows_of(compared(summary, outcomes), EQUAL_RECALL)
    mild = table[table["teacher_sharpness"] == 1.25]
    np.testing.assert_allclose(mild["value"], [LEAD] * 4 + [np.nan], atol=1e-9)
    assert len(table) == 10


def test_defaults_are_all_that_align_against_k_a(make_run: MakeRun) -> None:
    orderings = ("A-K", "K-A", "K", "A", "K-A@p'", {"name": "mine", "stages": ["align", "align"]})
    run = make_run(orderings=orderings, seeds=2)
    assert default_contrasts(run.study.orderings) == [
        ("A-K", "K-A"), ("A", "K-A"), ("K-A@p'", "K-A"), ("mine", "K-A")
    ]  # fmt: skip
    assert default_contrasts(make_run(orderings=("A-K", "A"), seeds=2).study.orderings) == []


def test_target_precision_is_in_nats_at_equal_weight(make_run: MakeRun) -> None:
    summary = summarize(make_run(order_effect=lambda p: 0.2))
    table = compared(summary, summary.outcomes)
    found = table[table["metric"] == "target_precision"]
    assert set(found["comparison"]) == {EQUAL_KL_WEIGHT}
    assert found["value"].to_numpy() == pytest.approx([1.0] * 3, abs=0.15)


def test_a_gap_costs_the_curve_and_not_the_other_weights(make_run: MakeRun) -> None:
    run = make_run(missing=lambda o, s, p: o == "K-A" and s < 3 and p["kl_weight"] == 2.0)
    summary = summarize(run)
    table = compared(summary, summary.outcomes)
    equal = rows_of(table, EQUAL_KL_WEIGHT)
    assert equal["state"].tolist() == [
        "complete", "complete", "incomplete: 3 of 10 seeds have no value of both orderings"
    ]  # fmt: skip
    others = table[table["comparison"].isin([EQUAL_RECALL, BEST_GRID_POINT, WITHIN_BUDGET])]
    assert set(others["state"]) == {"incomplete: 3 of 10 seeds lack a part of the curves"}
    assert others["value"].isna().all()


def test_orderings_with_another_start_are_no_pairs(make_run: MakeRun) -> None:
    summary = summarize(make_run())
    outcomes = summary.outcomes.copy()
    moved = (outcomes["ordering"] == "A-K") & (outcomes["seed"] == 0)
    outcomes.loc[moved, "p_second.reward"] += 0.1
    table = compared(summary, outcomes)
    assert set(table["state"]) == {"not comparable: the orderings do not share p''"}
