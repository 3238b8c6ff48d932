"""Contrasts at other learning rates: which rows there are, and choosing without gain by noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from recalltrap_analysis.report.document.blocks import Grid, Prose
from recalltrap_analysis.report.sections.fair_comparisons import fair_comparisons_section
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.margin import LARGER, UNDECIDED, WITHIN
from recalltrap_analysis.verdicts.rate_robustness import (
    AS_SET,
    OWN_BEST,
    best_by_others,
    rate_sentence,
    rate_table,
    rate_words,
)
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

P_PRIME, STUDENT = "p_prime_rate_factor", "student_rate_factor"
GRID = {"kl_weight": (1.0, 2.0), P_PRIME: (0.5, 1.0, 2.0), STUDENT: (0.5, 1.0)}
ORDERINGS = ("K-A", "A-K", "K-A@p'")


def effect(point: Any) -> float:
    """Only the rate of p' matters, and its best is twice what is set."""
    return {0.5: 0.0, 1.0: 0.2, 2.0: 0.5}[point[P_PRIME]]


def table_of(run: FakeRun, contrasts: Any = (("A-K", "K-A"),)) -> pd.DataFrame:
    kind = record_of("mog")
    outcomes = cell_outcomes(run.table("metrics"), run.axes, kind.reward_supremum)
    return rate_table(outcomes, Design.of(run.cells, run.axes), kind.rate_factors, contrasts)


def test_each_factor_is_moved_by_itself_and_each_ordering_has_its_own_best(
    make_run: MakeRun,
) -> None:
    table = table_of(make_run(grid=GRID, order_effect=effect, noise=0.001))
    assert list(table["kl_weight"].unique()) == [1.0, 2.0]
    for _, rows in table.groupby("kl_weight"):
        found = dict(zip(rows["case"], rows["value"], strict=True))
        expected = {AS_SET: 0.2, f"{P_PRIME} 0.5": 0.0, f"{P_PRIME} 2": 0.5, OWN_BEST: 0.5}
        assert found == pytest.approx(expected, abs=0.01), "the student's factor moves nothing"
        assert (rows["n"] == 10).all()
        [chosen] = rows[rows["case"] == OWN_BEST]["chosen"]
        assert chosen == f"A-K at {P_PRIME} 2; K-A at any"


def test_words_are_held_against_those_as_set(make_run: MakeRun) -> None:
    run = make_run(grid=GRID, order_effect=effect, noise=0.001, orderings=ORDERINGS)
    table = rate_words(table_of(run, (("A-K", "K-A"), ("K-A@p'", "K-A"))), 0.05)
    words = {(row["contrast"], row["case"]): (row["words"], row["changed"])
             for row in table.to_dict("records")}  # fmt: skip
    assert words["A-K − K-A", AS_SET] == (LARGER, False)
    assert words["A-K − K-A", f"{P_PRIME} 0.5"] == (WITHIN, True)
    assert words["A-K − K-A", OWN_BEST] == (LARGER, False)
    assert words["K-A@p' − K-A", AS_SET] == (WITHIN, False)
    assert rate_sentence(table) == (
        "Words that change against the rates as set: 2 of 4 comparisons with one size's learning "
        "rate changed; 0 of 4 comparisons with each ordering at its own best rate."
    )
    everything = rate_words(table_of(run), 10.0)
    assert not everything["changed"].any()


def test_choosing_among_equals_gains_nothing() -> None:
    """The best of many equal arms by the same seeds looks better than it is; by others not."""
    draws = np.random.default_rng(0).normal(size=(2000, 10, 9))
    fair = np.array([best_by_others(one).mean() for one in draws])
    naive = draws.mean(axis=1).max(axis=1)
    standard_error = fair.std() / len(fair) ** 0.5
    assert abs(fair.mean()) < 4 * standard_error
    assert naive.mean() > 0.3
    clear = draws[0] + 100.0 * np.arange(9)
    np.testing.assert_array_equal(best_by_others(clear), clear[:, -1])
    with pytest.raises(ValueError, match="two seeds"):
        best_by_others(draws[0, :1])


@pytest.mark.parametrize(
    ("facts", "case", "state"),
    [
        ({"missing": lambda o, s, p: o == "A-K" and s == 1 and p[P_PRIME] == 2.0}, OWN_BEST,
         "incomplete: 1 of 10 seeds have no value"),
        ({"seeds": 1}, OWN_BEST, "one seed: none to choose the rate by"),
        ({"missing": lambda o, s, p: True}, AS_SET, "incomplete: 10 of 10 seeds have no value"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(
    make_run: MakeRun, facts: dict[str, Any], case: str, state: str
) -> None:
    table = rate_words(table_of(make_run(grid=GRID, order_effect=effect, **facts)), 0.05)
    rows = table[table["case"] == case]
    assert set(rows["state"]) == {state}
    assert rows["value"].isna().all()
    assert set(rows["words"]) == {""}
    assert set(table[table["state"] == "complete"]["words"]) <= {LARGER, WITHIN, UNDECIDED}


@pytest.mark.slow
def test_the_report_has_it_where_it_was_run_and_nowhere_else(make_run: MakeRun) -> None:
    def section_blocks(run: FakeRun) -> Any:
        read = ReadRun(run)
        return fair_comparisons_section(read, summarize(read)).blocks

    run = make_run(grid=GRID, order_effect=effect, noise=0.001, orderings=ORDERINGS)
    blocks = section_blocks(run)
    [table] = [b for b in blocks if isinstance(b, Grid) and b.name == "learning-rates"]
    assert list(table.head[:2]) == ["contrast", "kl_weight"]
    assert len(table.rows) == 4
    assert f"{P_PRIME} 0.5: {WITHIN}" in table.rows[0][-1]
    assert len(table.data) == 12
    assert run.sql(table.query).num_rows
    assert any("Words that change" in b.text for b in blocks if isinstance(b, Prose))
    plain = section_blocks(make_run(orderings=ORDERINGS))
    assert not [b for b in plain if isinstance(b, Grid) and b.name == "learning-rates"]
    assert table_of(make_run()).empty
