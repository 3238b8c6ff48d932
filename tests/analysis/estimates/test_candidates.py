"""The evidence for each ordering of a stratum: what is compared, at which weight, at what cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from recalltrap.orderings import Ordering
from recalltrap_analysis.estimates.candidates import (
    StratumEvidence,
    ends_compact,
    evidence_by_stratum,
)
from recalltrap_analysis.estimates.contrasts import WITHIN_BUDGET, fair_comparisons
from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.verdicts.summary import Summary, summarize
from tests.analysis.conftest import REWARD_HEIGHT

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

WEIGHTS = (1.0, 2.0, 3.0, 4.0)
ORDERINGS = ("A-K", "K-A", "A", "K", {"name": "mine", "stages": ["distill", "align", "distill"]})
KIND = KindRecord(reward_supremum="reward_height", kl_weight="kl_weight")


def with_known_curves(summary: Summary) -> pd.DataFrame:
    """K-A attains 1 - 0.1 w at a recall of w - 10; A-K 0.1 more at half a nat more; seed 0 less."""
    outcomes = summary.outcomes.copy()
    ahead = np.where(outcomes["ordering"] == "A-K", 1.0, 0.0)
    weight = outcomes["kl_weight"].to_numpy(dtype=float)
    start = outcomes["p_second.reward"].to_numpy()
    attained = 1 - 0.1 * weight + 0.1 * ahead
    outcomes["final.reward"] = start + attained * (REWARD_HEIGHT - start)
    outcomes["final.overall_recall"] = weight - 10 + 0.5 * ahead
    outcomes["p_prime.overall_recall"] = np.where(outcomes["seed"] == 0, -2.0, -5.5)
    return outcomes


def evidence_of(
    run: FakeRun, summary: Summary, outcomes: pd.DataFrame, budget: float = 2.2
) -> list[StratumEvidence]:
    costs = run.table("costs").to_pandas()
    return evidence_by_stratum(outcomes, summary.design, summary.cells, costs, KIND, budget, "nats")


@pytest.mark.parametrize(
    ("stages", "compact"),
    [
        (["align"], False), (["distill"], False), (["align", "align"], False),
        (["distill", "align"], True), (["align", "distill"], True),
        (["distill", "align@p'"], True), (["align", "distill", "align"], True),
    ],
)  # fmt: skip
def test_candidates_align_and_end_compact(stages: list[str], compact: bool) -> None:
    assert ends_compact(Ordering.model_validate({"name": "x", "stages": stages})) == compact


def test_each_ordering_has_its_own_weight_within_the_budget(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": WEIGHTS}, orderings=ORDERINGS)
    summary = summarize(run)
    outcomes = with_known_curves(summary)
    [found] = evidence_of(run, summary, outcomes)
    assert [one.ordering for one in found.candidates] == ["K-A", "A-K", "mine"]
    ka, ak, _ = found.candidates
    # A recall of at least -7.7: from weight 3 on, A-K's from 2 on (-7.5); seed 0 can't keep -4.2.
    assert ka.keeps_N.tolist() == ak.keeps_N.tolist() == [False] + [True] * 9
    assert (ka.kl_weight, ak.kl_weight) == (3.0, 2.0)
    np.testing.assert_allclose(ka.best_N[1:], 0.7)
    np.testing.assert_allclose(ak.recall_N[1:], -7.5)
    assert np.isnan(ka.best_N[0])
    assert np.isnan(ka.recall_N[0])
    pair = found.pairs[0]
    assert (pair.first, pair.second) == ("A-K", "K-A")
    np.testing.assert_allclose(pair.within_N[1:], 0.2)
    np.testing.assert_allclose(pair.recall_N[1:], -0.5)
    np.testing.assert_allclose(pair.equal_recall_N, 0.15)  # 0.1, and half a nat at 0.1 a nat
    np.testing.assert_allclose(pair.best_grid_N, 0.2)
    np.testing.assert_allclose(pair.equal_weight_N, 0.1)
    assert pair.dominated_W.tolist() == [0.0] * 4


def test_the_budgets_numbers_are_those_of_the_comparisons(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": WEIGHTS})
    summary = summarize(run)
    outcomes = with_known_curves(summary)
    [pair] = evidence_of(run, summary, outcomes)[0].pairs
    table = fair_comparisons(outcomes, summary.design, "kl_weight", [("A-K", "K-A")], 2.2)
    [row] = table[table["comparison"] == WITHIN_BUDGET].to_dict("records")
    known = pair.within_N[np.isfinite(pair.within_N)]
    assert row["value"] == pytest.approx(known.mean())
    assert row["n"] == len(known) == 9


@pytest.mark.slow
def test_costs_are_those_after_p_prime(make_run: MakeRun) -> None:
    """p' is sft; after it K-A distils and aligns, mine distils once more: 1 MFLOP each."""
    run = make_run(grid={"kl_weight": WEIGHTS}, orderings=ORDERINGS)
    [found] = evidence_of(run, summarize(run), with_known_curves(summarize(run)))
    assert {one.ordering: one.flops for one in found.candidates} == {
        "K-A": 2e6, "A-K": 2e6, "mine": 3e6
    }  # fmt: skip
    assert {one.ordering: one.device_seconds for one in found.candidates} == {
        "K-A": 4.0, "A-K": 4.0, "mine": 6.0
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("spoilt", ["none", "zero", "one stage"])
def test_unknown_costs_are_no_costs(make_run: MakeRun, spoilt: str) -> None:
    run = make_run(grid={"kl_weight": WEIGHTS})
    costs = run.table("costs").to_pandas()
    if spoilt == "none":
        costs = costs.iloc[:0]
    elif spoilt == "zero":
        costs["flops"] = 0.0
    else:
        costs.loc[costs["stage"] == "align", "flops"] = np.nan
    summary = summarize(run)
    outcomes = with_known_curves(summary)
    [found] = evidence_by_stratum(outcomes, summary.design, summary.cells, costs, KIND, 2.2, "nats")
    assert all(np.isnan(one.flops) for one in found.candidates)
    assert all(np.isnan(one.device_seconds) == (spoilt == "none") for one in found.candidates)


def test_strata_have_their_own_evidence(make_run: MakeRun) -> None:
    grid: dict[str, tuple[Any, ...]] = {"kl_weight": WEIGHTS, "teacher_sharpness": (1.25, 10.0)}
    run = make_run(grid=grid)
    summary = summarize(run)
    found = evidence_of(run, summary, with_known_curves(summary))
    assert [dict(one.stratum) for one in found] == [
        {"teacher_sharpness": 1.25}, {"teacher_sharpness": 10.0}
    ]  # fmt: skip
    assert {one.weights for one in found} == {WEIGHTS}


def test_what_is_missing_is_named(make_run: MakeRun) -> None:
    run = make_run(
        grid={"kl_weight": WEIGHTS},
        missing=lambda name, seed, point: name == "A-K" and seed < 2 and point["kl_weight"] == 2.0,
    )
    [found] = evidence_of(run, (summary := summarize(run)), with_known_curves(summary))
    ka, ak = found.candidates
    assert ka.state == COMPLETE
    assert ak.state == found.pairs[0].state == "incomplete: 2 of 10 seeds lack a part of the curve"
    assert np.isnan(found.pairs[0].within_N).all()
    nothing = with_known_curves(summary).iloc[:0]
    [found] = evidence_of(run, summary, nothing)
    assert "incomplete: 10 of 10 seeds" in found.candidates[0].state
    assert len(found.lacks) == 2


def test_one_weight_has_no_curve_but_a_budget(make_run: MakeRun) -> None:
    for grid in ({"kl_weight": (2.0,)}, {"teacher_sharpness": (1.25,)}):
        run = make_run(grid=grid)
        summary = summarize(run)
        outcomes = summary.outcomes.assign(kl_weight=2.0)
        [found] = evidence_of(run, summary, with_known_curves(replaced(summary, outcomes)))
        [pair] = found.pairs
        assert len(found.weights) == 1
        assert found.weights[0] is not None
        assert np.isnan(pair.equal_recall_N).all()
        assert np.isnan(pair.best_grid_N).all()
        assert np.isnan(found.candidates[0].best_N).all()  # -8 at weight 2
        np.testing.assert_allclose(found.candidates[1].best_N[1:], 0.9)


def replaced(summary: Summary, outcomes: pd.DataFrame) -> Summary:
    return replace(summary, outcomes=outcomes)
