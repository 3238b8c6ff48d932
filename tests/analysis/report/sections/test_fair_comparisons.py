"""The section on fair comparisons: what it shows, and what it says of what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from recalltrap_analysis.estimates.contrasts import BEST_GRID_POINT, EQUAL_RECALL
from recalltrap_analysis.report.document.blocks import Fold, Grid, Prose, Section
from recalltrap_analysis.report.plots.reward_recall import comparison_plots
from recalltrap_analysis.report.sections.fair_comparisons import (
    disagreement,
    fair_comparisons_section,
)
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.margin import LARGER, UNDECIDED, WITHIN
from recalltrap_analysis.verdicts.effects import effects
from recalltrap_analysis.verdicts.summary import summarize
from tests.analysis.judging import judged_by

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

ORDERINGS = ("K-A", "A-K", "A", "K-A@p'", "K")


def section_of(run: FakeRun) -> Section:
    read = ReadRun(run)
    return fair_comparisons_section(read, summarize(read))


def grids(section: Section) -> dict[str, Grid]:
    blocks = [inside for block in section.blocks
              for inside in (block.blocks if isinstance(block, Fold) else [block])]  # fmt: skip
    return {block.name: block for block in blocks if isinstance(block, Grid)}


def words(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Prose))


def test_everything_is_shown_and_the_same_as_from_python(make_run: MakeRun) -> None:
    run = make_run(order_effect=lambda p: 0.1 * p["kl_weight"], orderings=ORDERINGS)
    section = section_of(run)
    tables = grids(section)
    assert set(tables) == {"comparisons", "recall-budget"}
    table = effects(run)
    assert len(tables["comparisons"].data) == len(table)
    for record, (_, row) in zip(tables["comparisons"].data, table.iterrows(), strict=True):
        assert record["words"] == row["words"]
        if record["state"] == "complete":
            assert record["difference"]["value"] == pytest.approx(row["value"])
    assert len(tables["comparisons"].rows) == 9
    [plot] = comparison_plots(ReadRun(run), summarize(run))
    assert plot.figure is not None
    assert "Not distilled, so larger, and not counted there: A." in plot.caption
    for block in tables.values():
        assert run.sql(block.query).num_rows


def test_one_weight_is_said(make_run: MakeRun) -> None:
    run = make_run(grid={"kl_weight": (1.0,)})
    section = section_of(run)
    assert "This study has one KL weight" in words(section)
    assert set(grids(section)) == {"comparisons"}
    assert comparison_plots(ReadRun(run), summarize(run)) == []


@pytest.mark.parametrize(
    ("orderings", "reason"), [(("K-A", "K"), "no other that aligns"), (("A-K", "A"), "no K-A")]
)
def test_nothing_to_compare_is_said(
    make_run: MakeRun, orderings: tuple[str, ...], reason: str
) -> None:
    assert reason in words(section_of(make_run(orderings=orderings, seeds=2)))


def test_nothing_finished_is_no_failure(make_run: MakeRun) -> None:
    section = section_of(make_run(missing=lambda o, s, p: True, orderings=ORDERINGS))
    tables = grids(section)
    assert any("incomplete: 10 of 10 seeds" in cell for cell in tables["comparisons"].rows[0])


def test_one_contrast_without_numbers_is_a_dash_beside_another(make_run: MakeRun) -> None:
    run = make_run(orderings=ORDERINGS, missing=lambda o, s, p: o == "A-K" and s == 1)
    rows = grids(section_of(run))["comparisons"].rows
    assert {(row[0], row[-1]) for row in rows} == {
        ("A-K − K-A", "–"), ("A − K-A", "0 of 10"), ("K-A@p' − K-A", "0 of 10")
    }  # fmt: skip


def test_readings_that_disagree_are_said(make_run: MakeRun) -> None:
    # Recall doesn't move in this run, so nothing can be interpolated and the grid still compares.
    section = section_of(make_run(order_effect=lambda p: 0.3))
    assert "the two readings of the curve" in words(section)
    assert "in none do they contradict" in words(section)


def test_readings_that_contradict_ask_for_more_weights() -> None:
    whole = pd.DataFrame(
        [
            {"contrast": "A-K − K-A", "point": point, "comparison": name, "words": said}
            for point, pair in enumerate([(WITHIN, LARGER), (WITHIN, UNDECIDED), (WITHIN, WITHIN)])
            for name, said in zip((EQUAL_RECALL, BEST_GRID_POINT), pair, strict=True)
        ]
    )
    said = disagreement(whole)
    assert said.startswith("In 2 of 3 rows")
    assert "in 1 they contradict" in said
    assert "More KL weights would settle it" in said


def test_a_study_s_own_contrasts_margin_and_budget_are_used(make_run: MakeRun) -> None:
    run = make_run(orderings=("K-A", "A-K", "K-A-K", "A"), order_effect=lambda p: 0.3)
    own = judged_by(run, contrasts=(("A-K", "K-A-K"), ("A", "K-A")), margin=0.5, recall_budget=0.25)
    section = section_of(own)
    table = grids(section)["comparisons"]
    assert {row[0] for row in table.rows} == {"A-K − K-A-K", "A − K-A"}
    assert {record["words"] for record in table.data if record["metric"] == "attainment"
            if record["state"] == "complete"} == {WITHIN}  # fmt: skip
    assert "a margin of 0.5 (attainment)" in words(section)
    assert "(0.25 nats below p', seed by seed)" in words(section)
    plots = comparison_plots(ReadRun(own), summarize(own))
    assert [plot.stem for plot in plots] == ["reward-recall-K-A-K", "reward-recall-K-A"]
    assert all(plot.figure is not None for plot in plots)
