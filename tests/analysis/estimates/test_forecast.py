from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recalltrap_analysis.estimates.forecast import (
    error_table,
    forecast_error,
    forecast_pairs,
    forecast_table,
)
from recalltrap_analysis.runs.wide_tables import cell_outcomes

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun


def references_only(metrics: pa.Table) -> pa.Table:
    return metrics.filter(pc.is_in(metrics["model"], pa.array(["p_prime", "p_second"])))


def test_forecast_needs_the_references_alone(make_run: MakeRun) -> None:
    run = make_run(order_effect=lambda p: 0.1 * p["kl_weight"], seeds=20, noise=0.01)
    metrics = references_only(run.table("metrics"))
    table = forecast_table(metrics, run.axes, "mog")
    assert pa.Table.from_pandas(table).num_rows == 3
    assert table.equals(forecast_table(run.table("metrics"), run.axes, "mog"))
    assert (table["seeds"] == 20).all()
    for _, row in table.iterrows():
        truth = 0.06 * row["kl_weight"]  # the invented references hold 0.6 of the order effect
        assert row["severity_low"] <= truth <= row["severity_high"]
        assert row["reward_ka"] < row["reward_ak"]
        assert row["samples_to_hit_p_prime"] == pytest.approx(25)
        assert row["samples_to_hit_p_second"] == pytest.approx(100)


def test_forecast_of_one_ordering_and_no_axes(make_run: MakeRun) -> None:
    run = make_run(grid={}, orderings=("K",), seeds=3)
    table = forecast_table(run.table("metrics"), (), "mog")
    assert pa.Table.from_pandas(table).num_rows == 1
    assert table["method"].tolist() == ["Student's t"]


def test_forecast_over_lists_and_names_fits_arrow(make_run: MakeRun) -> None:
    run = make_run(grid={"targets": ([7], [7, 6]), "algorithm": ("ppo", "grpo")}, seeds=2)
    table = pa.Table.from_pandas(forecast_table(run.table("metrics"), run.axes, "mog"))
    assert table["targets"].to_pylist() == [[7], [7], [7, 6], [7, 6]]


def test_forecast_without_optima_says_so(make_run: MakeRun) -> None:
    metrics = references_only(make_run().table("metrics"))
    metrics = metrics.filter(pc.not_equal(metrics["metric"], "optimum_reward"))
    table = forecast_table(metrics, ("kl_weight",), "mog")
    assert table["state"].str.startswith("no forecast: no finite reward_ka, reward_ak").all()
    assert table["severity"].isna().all()


def test_forecast_of_nothing_is_empty(make_run: MakeRun) -> None:
    metrics = make_run(missing=lambda o, s, p: True).table("metrics")
    assert forecast_table(metrics, ("kl_weight",), "mog").empty
    assert error_table(forecast_pairs(cell_outcomes(metrics, ()), ()), ()).empty


def test_error_against_outcomes(make_run: MakeRun) -> None:
    run = make_run(noise=0.05, orderings=("K-A", "A-K", "A"))
    pairs = forecast_pairs(cell_outcomes(run.table("metrics"), run.axes), run.axes)
    table = error_table(pairs, run.axes)
    assert len(table) == 8
    overall = table[table["point"].isna()].set_index("ordering")
    for ordering in ("K-A", "A-K"):
        arm = pairs[pairs["ordering"] == ordering]
        gap = (arm["predicted"] - arm["reached"]).to_numpy()
        assert overall.loc[ordering, "mae"] == pytest.approx(np.abs(gap).mean())
        assert overall.loc[ordering, "bias"] == pytest.approx(gap.mean())
        assert overall.loc[ordering, "cells"] == 30


def test_error_of_known_numbers() -> None:
    found = forecast_error(np.array([1.0, 2.0]), np.array([0.5, 3.0]))
    assert found == {"mae": 0.75, "bias": -0.25}
    assert np.isnan(forecast_error(np.zeros(0), np.zeros(0))["mae"])
