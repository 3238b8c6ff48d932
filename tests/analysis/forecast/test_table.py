"""The forecast of the anchor part: its numbers, what it needs, and what it may conclude."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recalltrap_analysis.forecast.best_of_n import COLUMNS
from recalltrap_analysis.forecast.table import (
    UNRELIABLE,
    AnchorForecast,
    forecast,
    forecast_points,
)
from recalltrap_analysis.forecast.text import forecast_statement, sentences, table_text
from recalltrap_analysis.language.effective_samples import EFFECTIVE_SAMPLES, FLOOR
from recalltrap_analysis.statistics.margin import LARGER, NOT_LARGER, SMALLER, UNDECIDED, WITHIN

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun


def references_only(metrics: pa.Table) -> pa.Table:
    return metrics.filter(pc.is_in(metrics["model"], pa.array(["p_prime", "p_second"])))


def forecast_of(run: FakeRun, metrics: pa.Table | None = None) -> AnchorForecast:
    table = run.table("metrics") if metrics is None else metrics
    return forecast(table, run.cells, run.store, run.axes, run.study.kind)


def test_it_needs_the_references_alone(make_run: MakeRun) -> None:
    run = make_run(order_effect=lambda p: 0.1 * p["kl_weight"], seeds=20, noise=0.01)
    table = forecast_of(run, references_only(run.table("metrics"))).points
    assert table.equals(forecast_of(run).points)
    assert (table["seeds"] == 20).all()
    for _, row in table.iterrows():
        truth = 0.06 * row["kl_weight"]  # the invented references hold 0.6 of the order effect
        assert row["anchor_part_low"] <= truth <= row["anchor_part_high"]
        assert row["optimum_reward_p_second"] < row["optimum_reward_p_prime"]
        assert row["samples_to_hit_p_prime"] == pytest.approx(25)
        assert row["samples_to_hit_p_second"] == pytest.approx(100)


def test_both_ways_are_there_before_any_alignment(make_run: MakeRun) -> None:
    run = make_run(seeds=4)
    found = forecast_of(run, references_only(run.table("metrics")))
    assert found.no_best_of_n == ""
    for name in COLUMNS:
        assert np.isfinite(found.points[name]).all(), name
    weights = found.points.sort_values("kl_weight")
    assert (np.diff(weights["n_p_prime"]) <= 0).all()  # a stronger anchor takes fewer samples
    assert (np.diff(weights["best_of_n_objective_p_prime"]) <= 0).all()


def test_without_stored_references_best_of_n_says_why(make_run: MakeRun) -> None:
    run = make_run(seeds=2)
    run.store.holds = False
    found = forecast_of(run)
    assert found.no_best_of_n == "p_prime of seed 0 is not in the store"
    assert found.points["best_of_n_anchor_part"].isna().all()
    assert (found.points["state"] == "complete").all()
    assert "Best of n is lacking: p_prime of seed 0 is not in the store." in sentences(found)


def test_one_ordering_and_no_axes(make_run: MakeRun) -> None:
    found = forecast_of(make_run(grid={}, orderings=("K",), seeds=3)).points
    assert len(found) == 1
    assert found["method"].tolist() == ["Student's t"]


def test_lists_and_names_fit_arrow(make_run: MakeRun) -> None:
    run = make_run(grid={"targets": ([7], [7, 6]), "algorithm": ("ppo", "grpo")}, seeds=2)
    told = forecast_statement(run.table("metrics"), run.cells, run.store, run.axes, "mog")
    assert told.points["targets"].to_pylist() == [[7], [7], [7, 6], [7, 6]]
    assert "point" not in told.points.column_names


def test_without_optima_it_says_so(make_run: MakeRun) -> None:
    run = make_run()
    metrics = references_only(run.table("metrics"))
    metrics = metrics.filter(pc.not_equal(metrics["metric"], "optimum_reward"))
    found = forecast_of(run, metrics)
    reason = "no forecast: no finite optimum_reward_p_second, optimum_reward_p_prime, anchor_part"
    assert found.points["state"].str.startswith(reason).all()
    assert found.points["anchor_part"].isna().all()
    assert (found.points["words"] == "").all()


def test_of_nothing_it_is_empty(make_run: MakeRun) -> None:
    run = make_run(missing=lambda o, s, p: True)
    found = forecast_of(run)
    assert found.points.empty
    assert table_text(found).empty
    assert sentences(found)[1] == "No forecast: no references stand."


def reference_rows(anchor_part_N: list[float], ess: tuple[float, float]) -> pd.DataFrame:
    """One grid point whose optima differ by these attainments, of so many effective samples."""
    count = len(anchor_part_N)
    values = {
        "anchor_part": anchor_part_N, "best_of_n_anchor_part": anchor_part_N,
        "optimum_reward_p_prime": np.ones(count), "optimum_reward_p_second": np.ones(count),
        "best_of_n_reward_p_prime": np.ones(count), "best_of_n_reward_p_second": np.ones(count),
        "best_of_n_objective_p_prime": np.ones(count),
        "best_of_n_objective_p_second": np.ones(count),
        "hit_rate_p_prime": np.zeros(count), "hit_rate_p_second": np.zeros(count),
        "n_p_prime": np.ones(count), "n_p_second": np.ones(count),
        "ess_p_prime": np.full(count, ess[0]), "ess_p_second": np.full(count, ess[1]),
    }  # fmt: skip
    points = pd.Series([()] * count, dtype=object)
    return pd.DataFrame({"point": points, "seed": range(count), **values})


SPREAD = np.array([-0.01, 0.0, 0.01, 0.0, -0.01, 0.01, 0.0, 0.0])


@pytest.mark.parametrize(
    ("mean", "spread", "word"),
    [(0.2, 1.0, LARGER), (0.0, 1.0, WITHIN), (-0.2, 1.0, SMALLER), (-0.06, 4.0, NOT_LARGER),
     (0.05, 1.0, UNDECIDED)],
)  # fmt: skip
def test_words_by_the_interval_and_the_effective_samples(
    mean: float, spread: float, word: str
) -> None:
    values = list(mean + spread * SPREAD)
    enough, few = 2.0 * FLOOR, 0.5 * FLOOR
    for ess in ((enough, enough), (few, enough), (enough, few)):
        table = forecast_points(reference_rows(values, ess), (), EFFECTIVE_SAMPLES, 0.05)
        assert table["words"].item() == (word if min(ess) > FLOOR else UNRELIABLE)


def test_too_few_seeds_never_say_that_there_is_nothing() -> None:
    few = reference_rows([0.0, 0.001, -0.001], (1e3, 1e3))
    words = forecast_points(few, (), EFFECTIVE_SAMPLES, 0.05)["words"].item()
    assert words == "not seen in 3 seeds"


def test_no_hit_takes_forever_to_come() -> None:
    table = forecast_points(reference_rows([0.1, 0.2], (1e3, 1e3)), (), EFFECTIVE_SAMPLES, 0.05)
    assert table["samples_to_hit_p_prime"].item() == np.inf


def test_the_text_says_what_it_is_of_and_shows_the_largest(make_run: MakeRun) -> None:
    run = make_run(order_effect=lambda p: 0.2 * p["kl_weight"], seeds=10, noise=0.01)
    found = forecast_of(run)
    first, second = sentences(found)
    assert "anchor part, a*(p') − a*(p'')" in first
    assert "not of the order effect" in first
    assert second.startswith("Of 3 grid points, on a margin of 0.05 in attainment: ")
    assert second.endswith("at kl_weight 2.")
    assert table_text(found, 1)["kl_weight"].tolist() == ["2"]
    assert len(table_text(found)) == 3
