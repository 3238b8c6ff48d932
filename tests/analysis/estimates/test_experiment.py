"""The order effect split by experiment: exact in every seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap_analysis.estimates.experiment import (
    ORDER_EFFECT,
    PARTS,
    experiment_table,
    split_by_experiment,
)
from recalltrap_analysis.runs.sql import RewardUnit, experiment_query
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

attained = st.lists(st.floats(-3, 3), min_size=4, max_size=4)
ORDERINGS = ("K-A", "A-K", "A", "K-A@p'")


@given(st.lists(attained, min_size=1, max_size=20))
def test_the_parts_add_up_in_every_seed(rows: list[list[float]]) -> None:
    ak, alone, anchored, ka = np.array(rows).T
    parts = split_by_experiment(ak, alone, anchored, ka)
    assert tuple(parts) == PARTS
    np.testing.assert_allclose(sum(parts.values()), ak - ka, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("orderings", [ORDERINGS, ("K-A", "A-K", "K-A@p'")])
def test_table_over_the_grid(make_run: MakeRun, orderings: tuple[str, ...]) -> None:
    run = make_run(orderings=orderings, order_effect=lambda p: 0.2 * p["kl_weight"])
    summary = summarize(run)
    table = experiment_table(summary.outcomes, summary.design, "kl_weight")
    assert (table["state"] == "complete").all()
    assert (table["n"] == 10).all()
    total = table[list(PARTS)].sum(axis=1).to_numpy()
    np.testing.assert_allclose(total, table[ORDER_EFFECT].to_numpy(), rtol=0, atol=1e-12)
    assert table[ORDER_EFFECT].to_numpy() == pytest.approx([0.1, 0.2, 0.4], abs=0.02)
    shares = table[[f"{part}_share" for part in PARTS]].sum(axis=1).to_numpy()
    np.testing.assert_allclose(shares, 1, atol=1e-9)
    assert (table["anchor_low"] <= table["anchor_high"]).all()
    found = run.sql(experiment_query(run.axes, RewardUnit("reward_height"))).to_pylist()
    for (_, row), asked in zip(table.iterrows(), found, strict=True):
        for name in (ORDER_EFFECT, *PARTS):
            assert asked[name] == pytest.approx(row[name], abs=1e-12)


def test_p_prime_ak_is_taken_from_a_where_a_k_lacks_it(make_run: MakeRun) -> None:
    summary = summarize(make_run(orderings=ORDERINGS))
    whole = experiment_table(summary.outcomes, summary.design, "kl_weight")
    outcomes = summary.outcomes.drop(columns="p_prime_aligned.reward")
    found = experiment_table(outcomes, summary.design, "kl_weight")
    for part in PARTS:
        np.testing.assert_allclose(found[part], whole[part], atol=1e-12)


def test_a_missing_cell_costs_its_grid_point(make_run: MakeRun) -> None:
    run = make_run(
        orderings=ORDERINGS,
        missing=lambda o, s, p: o == "K-A@p'" and s == 2 and p["kl_weight"] == 1.0,
    )
    summary = summarize(run)
    table = experiment_table(summary.outcomes, summary.design, "kl_weight")
    states = dict(zip(table["kl_weight"], table["state"], strict=True))
    assert states[1.0] == "incomplete: 1 of 10 seeds lack a model of the split"
    assert states[0.5] == states[2.0] == "complete"
    assert np.isnan(table[table["kl_weight"] == 1.0]["anchor"]).all()


def test_nothing_to_split_without_the_control(make_run: MakeRun) -> None:
    summary = summarize(make_run())
    table = experiment_table(summary.outcomes, summary.design, "kl_weight")
    assert table.empty
    assert set(PARTS) <= set(table.columns)
