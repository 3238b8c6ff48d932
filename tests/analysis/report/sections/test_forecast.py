"""The forecast in the report: what it is of, its error, and no chart over one KL weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recalltrap_analysis.estimates.decomposition import LABELS_NOTE
from recalltrap_analysis.report.document.blocks import Block, Fold, Grid, Plot, Prose
from recalltrap_analysis.report.sections.forecast import forecast_section
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

ALL = ("K-A", "A-K", "K-A@p'")


def blocks_of(run: FakeRun) -> list[Block]:
    """Every block of the section, folded ones too."""

    def flat(blocks: Sequence[Block]) -> list[Block]:
        inside = [[b, *(flat(b.blocks) if isinstance(b, Fold) else [])] for b in blocks]
        return [block for found in inside for block in found]

    return flat(forecast_section(ReadRun(run), summarize(run)).blocks)


def grids(blocks: list[Block]) -> dict[str, Grid]:
    return {block.name: block for block in blocks if isinstance(block, Grid)}


def words(blocks: list[Block]) -> str:
    return " ".join(block.text for block in blocks if isinstance(block, Prose))


def test_it_says_what_it_is_of_and_scores_the_anchor_part(make_run: MakeRun) -> None:
    run = make_run(orderings=ALL, seeds=8)
    blocks = blocks_of(run)
    assert "The forecast is of the **anchor part**" in words(blocks)
    assert "not of the order effect" in words(blocks)
    plots = {block.stem: block for block in blocks if isinstance(block, Plot)}
    assert set(plots) == {"forecast", "forecast-anchor-part", "forecast-error"}
    assert all(plot.figure is not None for plot in plots.values())
    error = grids(blocks)["forecast error: anchor part"]
    assert [row[0] for row in error.rows] == ["0.5", "1", "2", "all together"]
    for record in error.data:
        if record["kl_weight"] is not None and record["way"] == "optimum":
            assert record["measured"]["value"] == pytest.approx(0.0, abs=1e-9)
            assert record["bias"]["value"] == pytest.approx(0.18, abs=0.03)


def test_every_number_has_its_query(make_run: MakeRun) -> None:
    run = make_run(orderings=ALL, seeds=8)
    blocks = blocks_of(run)
    error = grids(blocks)["forecast error: anchor part"]
    asked = {row["kl_weight"]: row for row in run.sql(error.query).to_pylist()}
    shown = [row for row in error.data if row["way"] == "optimum" and row["kl_weight"] is not None]
    assert len(shown) == 3
    for row in shown:
        for name in ("forecast", "measured", "mean_absolute_error", "bias"):
            assert asked[row["kl_weight"]][name] == pytest.approx(row[name]["value"])
    rewards = grids(blocks)["forecast error: reward of p'_AK, anchored to p'"]
    by_sql = {
        row["kl_weight"]: row
        for row in run.sql(rewards.query).to_pylist() if row["ordering"] == "A-K"
    }  # fmt: skip
    for row in rewards.data:
        if row["way"] == "optimum" and row["kl_weight"] is not None:
            assert by_sql[row["kl_weight"]]["reached"] == pytest.approx(row["measured"]["value"])
            assert by_sql[row["kl_weight"]]["bias"] == pytest.approx(row["bias"]["value"])


def test_without_k_a_at_p_prime_the_anchor_part_was_not_measured(make_run: MakeRun) -> None:
    blocks = blocks_of(make_run(seeds=4))
    assert "The anchor part itself was not measured: K-A@p' is not among" in words(blocks)
    found = grids(blocks)
    assert "forecast error: anchor part" not in found
    assert "forecast error: reward of K-A, anchored to p''" in found
    stems = {block.stem for block in blocks if isinstance(block, Plot)}
    assert stems == {"forecast", "forecast-anchor-part"}


@pytest.mark.slow
def test_one_kl_weight_is_no_chart(make_run: MakeRun) -> None:
    for grid in ({}, {"kl_weight": (1.0,)}, {"student_components": (3, 4)}):
        blocks = blocks_of(make_run(grid=grid, orderings=ALL, seeds=4))
        assert not [block for block in blocks if isinstance(block, Plot)]
        [*errors] = [grid for name, grid in grids(blocks).items() if "error" in name]
        assert errors
        assert not any("all together" in row for grid in errors for row in grid.rows)


def test_nothing_ran_but_the_forecast_is_there(make_run: MakeRun) -> None:
    run = make_run(orderings=ALL, seeds=4)
    metrics: pa.Table = run.tables["metrics"]
    keep = pc.is_in(metrics["model"], pa.array(["p_prime", "p_second"]))
    run.tables["metrics"] = metrics.filter(keep)
    blocks = blocks_of(run)
    assert "K-A@p' has no pair with K-A yet" in words(blocks)
    assert list(grids(blocks)) == ["forecast"]


@pytest.mark.slow
def test_what_labels_make_of_the_optimum_is_said_once(make_run: MakeRun) -> None:
    run = make_run(grid={"algorithm": ("dpo_online", "ppo", "dpo_offline")}, seeds=2)
    assert words(blocks_of(run)).count(LABELS_NOTE) == 1
    assert ".." not in words(blocks_of(run))
    assert LABELS_NOTE not in words(blocks_of(make_run(seeds=2)))
