from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from recalltrap_analysis.estimates import scaling
from recalltrap_analysis.estimates.order_effect import pair_orderings
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.wide_tables import cell_outcomes

DEFICITS = (0.1, 0.3, 0.8, 1.5)
KL_WEIGHTS = (0.5, 1.0, 2.0, 4.0)
TRUTH = {"top": 0.6, "scale": 2.0, "power": 1.5}


def invent(
    deficits: Sequence[float] = DEFICITS,
    kl_weights: Sequence[float] = KL_WEIGHTS,
    noise: float = 0.01,
    seeds: int = 10,
    **truth: float,
) -> pd.DataFrame:
    """Rows of `seed_points` whose severities follow the curve, plus noise that seeds share."""
    generator = np.random.default_rng(0)
    shared = generator.normal(size=seeds)
    rows: list[dict[str, Any]] = []
    for deficit in deficits:
        for kl_weight in kl_weights:
            at = (np.array([deficit]), np.array([kl_weight]))
            severity = float(scaling.saturating(at, **{**TRUTH, **truth})[0])
            for seed in range(seeds):
                rows.append(
                    {
                        "point": (deficit, kl_weight), "label": f"{deficit}, {kl_weight}",
                        "penalty": kl_weight, "seed": seed,
                        "deficit": deficit * (1 + 0.05 * shared[seed]),
                        "severity": severity + noise * (shared[seed] + generator.normal()),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_the_curve_that_made_the_points_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "RESAMPLES", 60)
    found = scaling.fit(invent(), "kl_weight")
    assert found.reason == ""
    assert found.form == scaling.SATURATING
    for name, value in TRUTH.items():
        assert found.parameters[name] == pytest.approx(value, rel=0.15)
    assert found.error < 0.02 < found.error_of_mean
    assert (found.low <= found.ys + 1e-6).all()
    assert (found.ys <= found.high + 1e-6).all()
    assert "kl_weight^" in found.x_name
    table = found.settings
    assert len(table) == 16
    assert np.allclose(table["predicted"], table["severity"], atol=0.05)
    assert ((table["severity_low"] > 0) == (table["side"] == "above")).all()


def test_without_an_effect_the_curve_predicts_no_better_than_the_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scaling, "RESAMPLES", 20)
    found = scaling.fit(invent(top=0.0, noise=0.1), "kl_weight")
    assert found.error > 0.8 * found.error_of_mean
    assert (found.settings["side"] != "trap").any()


def test_a_fixed_kl_weight_needs_no_power(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "RESAMPLES", 20)
    deficits = np.linspace(0.1, 3.0, 8).tolist()
    found = scaling.fit(invent(deficits=deficits, kl_weights=(1.0,)), "kl_weight")
    assert found.parameters["power"] == 0
    assert found.x_name == "recall deficit"
    assert found.parameters["scale"] == pytest.approx(TRUTH["scale"], rel=0.2)


def test_few_or_equal_settings_have_a_reason_instead_of_a_curve() -> None:
    few = scaling.fit(invent(deficits=(0.1, 0.3), kl_weights=(1.0,)), "kl_weight")
    assert "2 complete settings are too few" in few.reason
    assert few.xs.size == 0
    assert list(few.settings["side"]) == ["above", "above"]
    alike = scaling.fit(
        invent(deficits=[0.2 + 1e-9 * i for i in range(8)], kl_weights=(1.0,)), "kl_weight"
    )
    assert "hardly differ" in alike.reason
    empty = scaling.fit(invent().iloc[:0], "kl_weight")
    assert empty.reason.startswith("0 complete settings")
    spoilt = invent()
    spoilt.loc[spoilt["penalty"] > 0.5, "deficit"] = np.nan
    assert scaling.fit(spoilt, "kl_weight").reason.startswith("4 complete settings")


def test_one_seed_has_a_curve_without_an_interval() -> None:
    found = scaling.fit(invent(seeds=1), "kl_weight")
    assert found.form == scaling.SATURATING
    assert np.isnan(found.low).all()
    assert found.interval.startswith("no interval")


def test_isotonic_regression_where_the_curve_does_not_converge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def give_up(*arguments: Any, **named: Any) -> None:
        raise RuntimeError("no convergence")

    monkeypatch.setattr(optimize, "curve_fit", give_up)
    monkeypatch.setattr(scaling, "RESAMPLES", 20)
    found = scaling.fit(invent(power=1.0), "kl_weight")
    assert found.form == scaling.ISOTONIC
    assert (np.diff(found.ys) >= 0).all()
    assert found.error < found.error_of_mean


@given(
    st.floats(0, 2), st.floats(0.01, 100), st.floats(0, 5),
    st.floats(-1, 5), st.floats(-1, 5), st.floats(0.01, 10), st.floats(0.01, 10),
)  # fmt: skip
@settings(max_examples=60)
def test_the_curve_rises_from_0_and_ends_at_its_top(
    top: float, scale: float, power: float, d1: float, d2: float, k1: float, k2: float
) -> None:
    deficits, weights = np.sort([d1, d2]), np.sort([k1, k2])
    values = scaling.saturating((deficits, weights), top, scale, power)
    assert 0 <= values[0] <= values[1] + 1e-12
    assert values[1] <= top + 1e-12
    assert scaling.saturating((np.zeros(1), weights[:1]), top, scale, power)[0] == 0


def test_points_come_from_complete_settings_of_a_run(make_run: Any) -> None:
    run = make_run(
        grid={"kl_weight": (0.5, 2.0), "student_components": (3, 4)},
        seeds=5,
        missing=lambda ordering, seed, point: seed == 2 and point["kl_weight"] == 0.5,
    )
    outcomes = cell_outcomes(run.table("metrics"), run.axes, "reward_height")
    design = Design.of(run.planned(), run.axes)
    pairs = pair_orderings(outcomes, run.axes)
    points = scaling.seed_points(outcomes, pairs, design, "kl_weight")
    assert sorted(points["point"].unique()) == [(2.0, 3), (2.0, 4)]
    assert (points["penalty"] == 2.0).all()
    estimated = pairs.set_index(["point", "seed"])["severity_estimate"].to_dict()
    for _, row in points.iterrows():
        assert row["severity"] == estimated[row["point"], row["seed"]]
    reference = outcomes["p_prime.overall_recall"] - outcomes["p_second.overall_recall"]
    assert set(points["deficit"]) <= set(reference)
