from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap.errors import InputError
from recalltrap_analysis.estimates import order_effect as module
from recalltrap_analysis.estimates.attainment import attainment
from recalltrap_analysis.estimates.decomposition import PARTS, decompose, decompose_pairs
from recalltrap_analysis.estimates.order_effect import pair_orderings
from recalltrap_analysis.runs.sql import order_effect_query
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.paired import holm, sign_flip_p_values
from recalltrap_analysis.verdicts.summary import summarize
from tests.analysis.judging import with_severity

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

attained = st.floats(-3, 3)


@given(attained, attained, attained, attained, attained)
def test_parts_add_up_to_the_order_effect(a: float, b: float, c: float, d: float, e: float) -> None:
    parts = decompose(*(np.array([x]) for x in (a, b, c, d, e)))
    assert sum(part[0] for part in parts.values()) == pytest.approx(a - e, abs=1e-9)
    assert tuple(parts) == PARTS


def test_attainment_is_zero_at_the_start_and_one_at_the_supremum() -> None:
    found = attainment(np.array([2.0, 10.0, 6.0]), np.full(3, 2.0), np.full(3, 10.0))
    assert found.tolist() == [0.0, 1.0, 0.5]
    at_top = attainment(np.array([10.0]), np.array([10.0]), np.array([10.0]))
    assert np.isnan(at_top).all()


def test_trapped_needs_both_sides_of_a_half() -> None:
    ka, other = np.array([0.49, 0.5, 0.2, 0.1]), np.array([0.5, 0.9, 0.4, 0.9])
    assert module.trapped(ka, other).tolist() == [True, False, False, True]


def test_known_effects_are_recovered(make_run: MakeRun) -> None:
    run = make_run(
        order_effect=lambda p: 0.1 * p["kl_weight"], seeds=20, noise=0.01,
        orderings=("K-A", "A-K", "K-A@p'"),
    )  # fmt: skip
    summary = summarize(with_severity(run, lambda p: 0.04 * p["kl_weight"], noise=0.01))
    for _, row in summary.order_effect.iterrows():
        truth = 0.1 * row["kl_weight"]
        assert row["order_effect"] == pytest.approx(truth, abs=0.01)
        assert row["order_effect_low"] <= truth <= row["order_effect_high"]
        assert row["severity"] == pytest.approx(0.4 * truth, abs=0.01)
        assert row["severity_low"] <= 0.4 * truth <= row["severity_high"]
        assert row["target_precision_difference"] == pytest.approx(5 * truth, abs=0.05)
        assert row["recall_difference"] == pytest.approx(-0.5)
    assert set(summary.order_effect["severity_from"]) == {"K-A@p'"}
    parts = summary.decomposition
    total = parts[list(PARTS)].sum(axis=1)
    assert total.to_numpy() == pytest.approx(parts["order_effect"].to_numpy(), abs=1e-9)
    assert parts["reference"].to_numpy() == pytest.approx(0.06 * parts["kl_weight"], abs=0.01)


@pytest.mark.slow
def test_severity_is_the_anchor_part_alone(make_run: MakeRun) -> None:
    """By K-A@p' where that ran; else the optima's difference, said to be an estimate."""
    controlled = make_run(orderings=("K-A", "A-K", "A", "K-A@p'"), seeds=20)
    measured = summarize(with_severity(controlled, lambda p: 0.1))
    assert measured.order_effect["severity"].to_numpy() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose(
        measured.order_effect["severity"], measured.experiment["anchor"], atol=1e-12
    )
    estimated = summarize(make_run(seeds=20))
    np.testing.assert_allclose(
        estimated.order_effect["severity"], estimated.decomposition["reference"], atol=1e-12
    )
    assert set(estimated.order_effect["severity_from"]) == {"estimated from the optima"}
    assert "severity (estimated from the optima)" in estimated.table()
    assert "severity" in measured.table()


def test_severity_of_a_grid_point_needs_every_seed_of_the_control(make_run: MakeRun) -> None:
    run = make_run(
        orderings=("K-A", "A-K", "K-A@p'"),
        missing=lambda o, s, p: o == "K-A@p'" and s == 2 and p["kl_weight"] == 1.0,
    )
    table = summarize(run).order_effect
    assert table["state"].tolist() == ["complete"] * 3
    assert table["severity_state"].iloc[1] == "K-A@p' is missing in 1 of 10 pairs"
    for name in ("severity", "trap_rate"):
        assert table[name].isna().tolist() == [False, True, False]
    assert table["order_effect"].notna().all()


def test_parts_add_up_per_seed_in_a_run(make_run: MakeRun) -> None:
    run = make_run()
    outcomes = cell_outcomes(run.table("metrics"), run.axes, "reward_height")
    pairs = decompose_pairs(pair_orderings(outcomes, run.axes))
    gap = pairs[list(PARTS)].sum(axis=1) - pairs["order_effect"]
    assert len(pairs) == 30
    assert gap.abs().max() < 1e-9


@pytest.mark.parametrize("control", [True, False])
def test_trap_rate_counts_pairs(make_run: MakeRun, control: bool) -> None:
    """Against K-A@p', which gains 0.03 here, or else against A-K, which gains 0.5."""
    run = make_run(
        order_effect=lambda p: 0.5, noise=0.0, seeds=20, grid={"kl_weight": (1.0,)},
        orderings=("K-A", "A-K", "K-A@p'") if control else ("K-A", "A-K"),
    )  # fmt: skip
    summary = summarize(with_severity(run, lambda p: 0.03, noise=0.0))
    row = summary.order_effect.iloc[0]
    ka = np.array([0.45 + 0.05 * np.random.default_rng(s).normal(size=8)[1] for s in range(20)])
    share = np.mean((ka < 0.5) & (ka + (0.03 if control else 0.5) >= 0.5))
    assert row["trap_rate"] == pytest.approx(share)
    assert 0 < row["trap_rate_low"] < share < row["trap_rate_high"] < 1
    assert row["trap_rate_against"] == ("K-A@p'" if control else "A-K")
    assert row["trap_gap"] == pytest.approx(0.03 if control else 0.5)
    assert ("trap rate" if control else "trap rate (against A-K)") in summary.table()
    if control:  # A-K's sharpening would have counted seeds that the anchor doesn't explain
        assert share < np.mean((ka < 0.5) & (ka + 0.5 >= 0.5))


def test_false_alarms_stay_under_the_level() -> None:
    """Over many invented grids without an effect, Holm lets few through."""
    generator = np.random.default_rng(12)
    p_GS = sign_flip_p_values(generator.standard_t(4, size=(9, 2000)), generator).reshape(400, 5)
    alarms_G = 5 * p_GS.min(axis=1) <= 0.05  # Holm rejects anything only if Bonferroni does
    for p_S, alarm in zip(p_GS[:5], alarms_G[:5], strict=True):
        assert (holm(p_S) <= 0.05).any() == alarm
    assert 0 < alarms_G.mean() <= 0.07


def test_incomplete_grid_points_are_labelled_and_not_averaged(make_run: MakeRun) -> None:
    run = make_run(
        missing=lambda o, s, p: o == "K-A" and s < 3 and p["kl_weight"] == 2.0,
        failing=lambda o, s, p: o == "A-K" and s == 5 and p["kl_weight"] == 1.0,
    )
    summary = summarize(run)
    states = dict(
        zip(summary.order_effect["kl_weight"], summary.order_effect["state"], strict=True)
    )
    assert states == {
        0.5: "complete",
        1.0: "incomplete: 1 of 10 pairs missing",
        2.0: "incomplete: 3 of 10 pairs missing",
    }
    left_out = summary.order_effect[summary.order_effect["state"] != "complete"]
    numbers = [name for name in left_out if f"{name}_low" in left_out]
    assert left_out[numbers].isna().all(axis=None)
    assert set(summary.table()["reading"][1:]) == set(left_out["state"])
    assert (summary.planned, summary.succeeded, summary.failed, summary.missing) == (60, 56, 1, 3)
    assert summary.decomposition["reference"].isna().sum() == 2


def test_values_that_are_not_finite_are_labelled(make_run: MakeRun) -> None:
    spoilt = make_run(spoilt=lambda o, s, p: o == "A-K" and s in (1, 2) and p["kl_weight"] == 0.5)
    row = summarize(spoilt).order_effect.iloc[0]
    assert row["state"] == "not finite in 2 of 10 pairs: order effect"
    assert np.isnan(row["order_effect"])


def test_nothing_run_yet(make_run: MakeRun) -> None:
    summary = summarize(make_run(missing=lambda o, s, p: True))
    assert summary.missing == 60
    assert len(summary.table()) == 3
    assert len(summary.table(most=2)) == 2


def test_a_short_table_has_the_largest_order_effect_of_either_sign(make_run: MakeRun) -> None:
    spoilt = make_run(spoilt=lambda o, s, p: o == "A-K" and p["kl_weight"] == 0.5)
    summary = summarize(spoilt)
    flipped = summary.order_effect.assign(order_effect=-summary.order_effect["order_effect"])
    for found in (summary, replace(summary, order_effect=flipped)):
        sizes = found.order_effect["order_effect"].abs()
        shown = found.table(most=2)["kl_weight"].tolist()
        by_size = found.order_effect.assign(size=sizes).sort_values("size", ascending=False)
        assert shown == [f"{weight:g}" for weight in by_size["kl_weight"][:2]]
        assert "0.5" not in shown, "it has no order effect"


@pytest.mark.slow
@pytest.mark.parametrize(
    "grid",
    [
        {},
        {"targets": ([7], [7, 6])},
        {"algorithm": ("ppo", "dpo_online"), "kl_weight": (1.0, 2.0)},
    ],
)
def test_any_axes(make_run: MakeRun, grid: dict[str, tuple[object, ...]]) -> None:
    summary = summarize(make_run(grid=grid, orderings=("K-A", "A-K", "A", "K", "K-A-K")))
    assert (summary.order_effect["pairs"] == 10).all()
    if "algorithm" in grid:
        notes = summary.decomposition.set_index("algorithm")["note"]
        assert (notes["ppo"] == "").all()
        assert notes["dpo_online"].str.contains("yardstick").all()
    if "targets" in grid:
        assert summary.table()["targets"].tolist() == ["[7]", "[7, 6]"]


def test_query_gives_the_same_effects(make_run: MakeRun) -> None:
    run = make_run(
        grid={"targets": ([7], [7, 6]), "kl_weight": (1.0, 2.0)},
        order_effect=lambda p: 0.1 * p["kl_weight"] * len(p["targets"]),
        orderings=("K-A", "A-K", "K-A@p'"),
    )
    run = with_severity(run, lambda p: 0.05 * p["kl_weight"])
    table = summarize(run).order_effect
    found = run.sql(order_effect_query(run.axes, summarize(run).reward_unit)).to_pylist()
    by_point = {(tuple(row["targets"]), row["kl_weight"]): row for row in found}
    for _, row in table.iterrows():
        assert by_point[row["point"]]["order_effect"] == pytest.approx(
            row["order_effect"], abs=1e-12
        )
        assert by_point[row["point"]]["severity"] == pytest.approx(row["severity"], abs=1e-12)
        assert by_point[row["point"]]["pairs"] == 10


def test_axes_that_do_not_tell_cells_apart_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    with pytest.raises(InputError, match="don't tell the cells apart"):
        pair_orderings(cell_outcomes(run.table("metrics"), ()), ())


def test_a_value_twice_is_refused(make_run: MakeRun) -> None:
    metrics = make_run().table("metrics")
    with pytest.raises(InputError, match="twice"):
        cell_outcomes(metrics.take([0, 1, 1]), ("kl_weight",))
