"""Where alignments began and ended, as the section on final models tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from recalltrap_analysis.report.document.blocks import Fold, Grid, Prose, Section
from recalltrap_analysis.report.sections.models import final_models_section
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

ORDERINGS = ("K-A", "A-K", "K-A@p'")


def with_curves(run: FakeRun, metrics: tuple[str, ...]) -> FakeRun:
    """Curves that begin at 0 (at 2 under K-A@p') and end at 10 times the KL weight, plus seed."""
    rows: list[dict[str, Any]] = []
    for cell in run.cells:
        begin = 2.0 if cell.ordering.name == "K-A@p'" else 0.0
        end = 10.0 * cell.factors["kl_weight"] + cell.seed
        for metric in metrics:
            for stage, shift in (("align", 0.0), ("align-2", 99.0)):
                for step, value in ((0, begin), (50, 5.0), (100, end)):
                    rows.append({"cell_id": cell.id, "stage": stage, "step": step,
                                 "metric": metric, "value": value + shift})  # fmt: skip
    run.tables["curves"] = pa.Table.from_pylist(rows, run.tables["curves"].schema)
    return run


def section_of(run: FakeRun) -> Section:
    read = ReadRun(run)
    return final_models_section(read, summarize(read))


def ends_of(section: Section) -> tuple[Grid, str]:
    [fold] = [b for b in section.blocks if isinstance(b, Fold) and "first and last" in b.title]
    table, words = fold.blocks
    assert isinstance(table, Grid)
    assert isinstance(words, Prose)
    return table, words.text


@pytest.mark.slow
def test_ends_are_means_over_seeds_of_the_first_alignment(make_run: MakeRun) -> None:
    run = with_curves(
        make_run(orderings=ORDERINGS, seeds=3),
        ("kl", "reference_kl", "preference_margin", "gradient_weight", "loss"),
    )
    table, words = ends_of(section_of(run))
    assert len(table.rows) == 9
    assert len(table.data) == 27, "the exact KL alone, z and its weight"
    for row in table.data:
        assert row["metric"] in ("reference_kl", "preference_margin", "gradient_weight")
        assert row["first"]["value"] == (2.0 if row["ordering"] == "K-A@p'" else 0.0)
        last = row["last"]
        assert last["value"] == pytest.approx(10 * row["kl_weight"] + 1)
        assert last["low"] < last["value"] < last["high"]
        assert row["n"] == 3
    assert run.sql(table.query).num_rows == 81
    assert "how much of the loss still pulls" in words


@pytest.mark.slow
def test_another_kinds_names_and_an_algorithm_without_pairs(make_run: MakeRun) -> None:
    table, words = ends_of(section_of(with_curves(make_run(seeds=2), ("kl", "reward_margin"))))
    assert {row["metric"] for row in table.data} == {"kl", "reward_margin"}
    assert "σ" not in words
    table, words = ends_of(section_of(with_curves(make_run(seeds=1), ("kl",))))
    assert {row["metric"] for row in table.data} == {"kl"}
    assert "[no interval]" in table.rows[0][-1]


@pytest.mark.slow
def test_a_run_without_such_curves_shows_none(make_run: MakeRun) -> None:
    titles = [block.title for block in section_of(make_run()).blocks if isinstance(block, Fold)]
    assert not [title for title in titles if "first and last" in title]
