"""The unit of rewards: attainment where there is a supremum, else standard deviations under p'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recalltrap as rt
from recalltrap_analysis.estimates.attainment import (
    ATTAINMENT,
    IN_SDS,
    NO_UNIT,
    in_unit,
    reward_unit,
)
from recalltrap_analysis.estimates.reward_recall import reward_recall_curves
from recalltrap_analysis.runs.wide_tables import cell_outcomes, column
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

START, REWARD, SD = np.array([1.0, 2.0, 4.0]), np.array([2.0, 4.0, 4.0]), np.array([0.5, 4.0, 2.0])
PRIME = np.array([1.5, 3.0, 4.0])


def outcomes_with(**columns: np.ndarray) -> pd.DataFrame:
    named = {name.replace("__", "."): values for name, values in columns.items()}
    return pd.DataFrame({"p_second.reward": START, "p_prime.reward": PRIME, **named})


@pytest.mark.parametrize(
    ("columns", "unit", "values"),
    [
        ({"reward_supremum": np.full(3, 5.0), "p_prime__reward_sd": SD}, ATTAINMENT,
         [1 / 4, 2 / 3, 0.0]),
        ({"reward_supremum": np.full(3, np.nan), "p_prime__reward_sd": SD}, IN_SDS,
         [1.0, 0.25, 0.0]),
        ({"p_prime__reward_sd": np.array([0.5, 0.0, np.nan])}, IN_SDS, [1.0, np.nan, np.nan]),
        ({"p_prime__reward_sd": np.zeros(3)}, NO_UNIT, [np.nan] * 3),
        ({}, NO_UNIT, [np.nan] * 3),
    ],
)  # fmt: skip
def test_the_unit_follows_what_is_known(
    columns: Mapping[str, np.ndarray], unit: str, values: list[float]
) -> None:
    outcomes = outcomes_with(**columns)
    assert reward_unit(outcomes) == unit
    np.testing.assert_allclose(in_unit(outcomes, REWARD), values)


def test_one_run_never_mixes_units() -> None:
    """A seed that lacks the supremum has no value, whatever is known of its p'."""
    outcomes = outcomes_with(reward_supremum=np.array([5.0, np.nan, 5.0]), p_prime__reward_sd=SD)
    np.testing.assert_allclose(in_unit(outcomes, REWARD), [1 / 4, np.nan, 0.0])


@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_sds_know_neither_the_rewards_scale_nor_its_zero(scale: float, shift: float) -> None:
    plain = outcomes_with(p_prime__reward_sd=SD)
    moved = plain.assign(
        **{
            "p_second.reward": scale * START + shift,
            "p_prime.reward": scale * PRIME + shift,
            "p_prime.reward_sd": scale * SD,
        }
    )
    np.testing.assert_allclose(
        in_unit(moved, scale * REWARD + shift), in_unit(plain, REWARD), rtol=1e-9, atol=1e-9
    )


def test_curves_are_in_the_runs_unit(make_run: MakeRun) -> None:
    summary = summarize(make_run(seeds=3))
    outcomes = summary.outcomes.copy()
    outcomes["reward_supremum"] = np.nan
    outcomes["p_prime.reward_sd"] = 0.5 + outcomes["seed"]
    zero = dict(zip(outcomes["seed"], outcomes["p_prime.reward"], strict=True))
    for curve in reward_recall_curves(outcomes, summary.design, "kl_weight").values():
        sd_N1 = 0.5 + np.array(curve.seeds)[:, None]
        zero_N1 = np.array([zero[seed] for seed in curve.seeds])[:, None]
        np.testing.assert_allclose(curve.attainment, (curve.reward - zero_N1) / sd_N1)


def test_a_kind_without_a_supremum_is_compared_in_its_p_primes_sds(
    study_file: Callable[..., str], storage: str
) -> None:
    """The toy kind measures `reward_sd` of p'; as if its rewards had no known top."""
    run = rt.run(study_file(seeds=3), storage=storage, local=True)
    outcomes = cell_outcomes(run.table("metrics"), run.axes)
    assert reward_unit(outcomes) == IN_SDS
    gain = column(outcomes, "final.reward") - column(outcomes, "p_prime.reward")
    expected = gain / column(outcomes, "p_prime.reward_sd")
    found = in_unit(outcomes, column(outcomes, "final.reward").to_numpy())
    np.testing.assert_allclose(found, expected)
    assert np.isfinite(found).all()
