"""Handovers side by side: what each keeps, at which recall, and for how much."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from recalltrap.orderings import Ordering
from recalltrap_analysis.estimates.candidates import Spending
from recalltrap_analysis.estimates.handovers import (
    base_of,
    handover_table,
    handovers,
    over_weights,
)
from recalltrap_analysis.report.build import write_report
from recalltrap_analysis.report.sections.handovers import handovers_section
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary, summarize
from tests.analysis.conftest import REWARD_HEIGHT

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

OTHER: dict[str, Any] = {"name": "A-x", "stages": ["align", "align", "distill"]}
ORDERINGS: list[str | dict[str, Any]] = ["K-A", "A-K", OTHER]
NAMES = ["A-K", "A-x"]
WEIGHTS = (1.0, 2.0, 3.0)
LEAD, SHIFT = 0.2, 0.5


def ordering(value: Any) -> Ordering:
    return Ordering.model_validate(value)


def known(summary: Summary) -> pd.DataFrame:
    """Attainment falls by 0.1 a nat of recall; A-x lies `LEAD` above A-K's line and has `SHIFT`
    nats more recall at the same weight; p'_AK attains 0.9."""
    outcomes = summary.outcomes.copy()
    own = (outcomes["ordering"] == "A-x").to_numpy(dtype=float)
    weight = outcomes["kl_weight"].to_numpy(dtype=float)
    start = outcomes["p_second.reward"].to_numpy()
    attained = 1 - 0.1 * (weight + SHIFT * own) + LEAD * own
    outcomes["final.reward"] = start + attained * (REWARD_HEIGHT - start)
    outcomes["p_prime_aligned.reward"] = start + 0.9 * (REWARD_HEIGHT - start)
    outcomes["final.overall_recall"] = -10 + weight + SHIFT * own
    outcomes["p_prime.overall_recall"] = -4.6
    return outcomes


def spent(summary: Summary, **flops: float) -> Spending:
    """The same in every cell of an ordering."""
    names = {"A_K": "A-K", "A_x": "A-x"}
    return {
        ("flops", point, names[name], seed): value
        for name, value in flops.items()
        for point in summary.design.points
        for seed in range(10)
    }


def row(table: pd.DataFrame, name: str, weight: float) -> dict[str, Any]:
    found = table[(table["ordering"] == name) & (table["kl_weight"] == weight)]
    (record,) = found.to_dict("records")
    return {str(key): value for key, value in record.items()}


def test_handovers_begin_with_an_alignment_and_end_with_a_student() -> None:
    given = [
        "K-A",
        "A-K",
        "A",
        "K-A-K",
        OTHER,
        {"name": "b", "stages": ["align", "distill", "align"]},
    ]
    assert handovers([ordering(value) for value in given]) == NAMES
    assert base_of(NAMES) == "A-K"
    assert base_of(["A-x", "A-y"]) == "A-x"


def test_known_curves_give_known_differences(make_run: MakeRun) -> None:
    summary = summarize(make_run(grid={"kl_weight": WEIGHTS}, orderings=ORDERINGS))
    spending = spent(summary, A_K=100.0, A_x=200.0)
    table = handover_table(known(summary), summary.design, NAMES, "kl_weight", spending)
    assert len(table) == 2 * len(WEIGHTS)
    base, other = row(table, "A-K", 2.0), row(table, "A-x", 2.0)
    assert base["attainment"] == pytest.approx(0.8)
    assert base["kept"] == pytest.approx(-0.1)
    assert base["flops"] == 100.0
    assert np.isnan(base["equal_weight"])
    assert other["attainment"] == pytest.approx(0.95)
    assert other["equal_weight"] == pytest.approx(LEAD - 0.1 * SHIFT)
    assert other["equal_recall"] == pytest.approx(LEAD)
    assert other["per_flop"] == pytest.approx(0.95 / 2 - 0.8)
    assert other["recall_gained"] == pytest.approx(SHIFT)
    assert other["equal_weight_n"] == other["seeds"] == 10
    assert other["below_half"] == 0
    assert np.isnan(other["equal_cost"])  # no axis changes what it costs
    assert np.isnan(row(table, "A-x", 3.0)["equal_recall"])  # beyond A-K's curve


def test_means_over_weights_are_of_what_can_be_compared(make_run: MakeRun) -> None:
    summary = summarize(make_run(grid={"kl_weight": WEIGHTS}, orderings=ORDERINGS))
    spending = spent(summary, A_K=100.0, A_x=100.0)
    [(stratum, name, kinds)] = over_weights(
        known(summary), summary.design, NAMES, "kl_weight", spending
    )
    assert (stratum, name) == ((), "A-x")
    np.testing.assert_allclose(kinds["equal_recall"], LEAD)
    np.testing.assert_allclose(kinds["per_flop"], kinds["equal_weight"])


def test_at_equal_cost_it_is_read_along_what_changes_its_cost(make_run: MakeRun) -> None:
    """A-x at 100, 400 and 1,600 FLOPs, A-K at 200, 800 and 3,200: half way between, and once too
    dear to compare."""
    grid = {"distill_iterations": (100, 200, 400)}
    summary = summarize(make_run(grid=grid, orderings=ORDERINGS))
    outcomes = summary.outcomes.copy()
    place = np.log2(outcomes["distill_iterations"].to_numpy(dtype=float) / 100)
    own = (outcomes["ordering"] == "A-x").to_numpy(dtype=float)
    start = outcomes["p_second.reward"].to_numpy()
    outcomes["final.reward"] = start + (0.4 + 0.1 * place + 0.05 * own) * (REWARD_HEIGHT - start)
    spending = {
        ("flops", point, name, seed): cost * 4.0 ** step
        for step, point in enumerate(summary.design.points)
        for name, cost in (("A-K", 200.0), ("A-x", 100.0))
        for seed in range(10)
    }  # fmt: skip
    table = handover_table(outcomes, summary.design, NAMES, "kl_weight", spending)
    found = table[table["ordering"] == "A-x"]["equal_cost"].tolist()
    np.testing.assert_allclose(found, [0.05 + 0.05, 0.05 + 0.05, np.nan], atol=1e-9)


def test_the_page_says_which_keeps_most_and_leaves_one_way_out(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": WEIGHTS}, orderings=ORDERINGS)
    content = json.loads(Path(write_report(run, form="json")).read_text())
    sections = {section["key"]: section for section in content["chapters"][0]["sections"]}
    assert "nothing is shown to keep more than A-K" in content["handovers"][0]
    assert "as much is kept" not in content["handovers"][0], "at equal recall it says which does"
    table = next(b for b in sections["handovers"]["blocks"] if b.get("table") == "handovers")
    assert {row["ordering"] for row in table["rows"]} == {"A-K", "A-x"}
    alone = json.loads(Path(write_report(make_run(), form="json")).read_text())
    assert "handovers" not in {s["key"] for s in alone["chapters"][0]["sections"]}


@pytest.mark.parametrize("column", ["final.reward", "final.overall_recall"])
def test_a_handover_that_has_no_numbers_is_left_out(column: str, make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": (1.0,)}, orderings=ORDERINGS)
    summary = summarize(run)
    outcomes = summary.outcomes.copy()
    outcomes.loc[outcomes["ordering"] == "A-x", column] = np.nan
    section = handovers_section(ReadRun(run), replace(summary, outcomes=outcomes))
    assert section is not None
    assert "as much is kept" not in section.summary["handovers"][0]


@pytest.mark.parametrize(
    ("lead", "shift", "expected"),
    [(0.0, SHIFT, True), (0.2, SHIFT, True), (-0.2, SHIFT, False), (0.0, -SHIFT, False),
     (0.0, 0.0, False)],
)  # fmt: skip
def test_at_one_kl_weight_the_page_says_which_keeps_as_much_at_more_recall(
    lead: float, shift: float, expected: bool, make_run: MakeRun
) -> None:
    run = make_run(grid={"kl_weight": (1.0,)}, orderings=ORDERINGS)
    summary = summarize(run)
    outcomes = summary.outcomes.copy()
    own = (outcomes["ordering"] == "A-x").to_numpy(dtype=float)
    start, noise = outcomes["p_second.reward"].to_numpy(), 0.001 * outcomes["seed"].to_numpy()
    outcomes["final.reward"] = start + (0.6 + (lead + noise) * own) * (REWARD_HEIGHT - start)
    outcomes["final.overall_recall"] = -3 + (shift + noise * np.sign(shift)) * own
    section = handovers_section(ReadRun(run), replace(summary, outcomes=outcomes))
    assert section is not None
    [answer] = section.summary["handovers"]
    assert ("as much is kept, at more recall, by A-x with 0.50" in answer) == expected
    assert not expected or "nats more" in answer
