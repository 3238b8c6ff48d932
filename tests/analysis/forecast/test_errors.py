"""How wrong a forecast was, by KL weight, from outcomes with known errors."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recalltrap_analysis.estimates.attainment import ATTAINMENT
from recalltrap_analysis.estimates.references import reference_rows
from recalltrap_analysis.forecast.errors import (
    ANCHOR_PART,
    BEST_OF_N,
    OPTIMUM,
    error_table,
    scored_rows,
)

AXES = ("kl_weight", "student_components")
SEEDS = 6
START, SUPREMUM = 2.0, 10.0
ERRORS = {0.5: 0.06, 1.0: 0.06, 2.0: 0.19, 4.0: 0.35}
"""Of the anchor part, in attainment: what one independent check found."""


def outcomes(orderings: tuple[str, ...] = ("K-A", "A-K", "K-A@p'")) -> pd.DataFrame:
    """Forecast 0.3 everywhere; K-A@p' beats K-A by 0.3 + the weight's error, and seed noise."""
    rows = []
    grid = itertools.product(ERRORS, (3, 4), orderings, range(SEEDS))
    for kl_weight, components, ordering, seed in grid:
        noise = 0.01 * (seed - (SEEDS - 1) / 2)
        attained = {"K-A": 0.2, "A-K": 0.7, "K-A@p'": 0.5 + ERRORS[kl_weight] + noise}[ordering]
        rows.append({
            "kl_weight": kl_weight, "student_components": components, "ordering": ordering,
            "seed": seed, "reward_supremum": SUPREMUM, "p_second.reward": START,
            "p_second.optimum_reward": START + 0.25 * 8, "p_prime.optimum_reward": START + 0.55 * 8,
            "p_prime_aligned.reward": START + 0.5 * 8 if ordering == "A-K" else np.nan,
            "final.reward": START + attained * 8,
        })  # fmt: skip
    return pd.DataFrame(rows)


def errors(found: pd.DataFrame) -> pd.DataFrame:
    found = found.reset_index(drop=True)
    rows = reference_rows(found, AXES)
    best = {f"best_of_n_reward_{name}": np.nan for name in ("p_prime", "p_second")}
    rows = rows.assign(**best, best_of_n_anchor_part=0.1)
    return error_table(scored_rows(rows, found, AXES), AXES, "kl_weight", ATTAINMENT)


def select(table: pd.DataFrame, quantity: str, way: str = OPTIMUM) -> pd.DataFrame:
    return table[(table["quantity"].str.startswith(quantity)) & (table["way"] == way)]


def test_the_anchor_part_s_error_grows_with_the_kl_weight() -> None:
    table = select(errors(outcomes()), ANCHOR_PART)
    for components in (3, 4):
        here = table[(table["student_components"] == components) & table["point"].notna()]
        by_weight = dict(zip(here["kl_weight"], here["mean_absolute_error"], strict=True))
        assert by_weight == pytest.approx(ERRORS)
        assert here["bias"].tolist() == pytest.approx([-size for size in ERRORS.values()])
        assert here["forecast"].to_numpy() == pytest.approx(0.3)
        assert here["measured"].tolist() == pytest.approx([0.3 + e for e in ERRORS.values()])
        assert (here["seeds"] == SEEDS).all()


def test_each_way_has_its_own_error() -> None:
    table = select(errors(outcomes()), ANCHOR_PART, BEST_OF_N)
    known = table[table["point"].notna()]
    wanted = [-0.2 - ERRORS[weight] for weight in known["kl_weight"]]
    assert known["bias"].tolist() == pytest.approx(wanted)


def test_intervals_are_student_s_over_seeds() -> None:
    row = select(errors(outcomes()), ANCHOR_PART).iloc[0]
    error_N = -ERRORS[0.5] - 0.01 * (np.arange(SEEDS) - (SEEDS - 1) / 2)
    low, high = stats.t.interval(0.95, SEEDS - 1, error_N.mean(), stats.sem(error_N))
    assert (row["bias_low"], row["bias_high"]) == pytest.approx((low, high))


def test_the_number_over_all_weights_never_stands_alone() -> None:
    table = select(errors(outcomes()), ANCHOR_PART)
    pooled = table[table["point"].isna()]
    assert pooled["student_components"].tolist() == [3, 4]  # a stratum each
    assert pooled["kl_weight"].tolist() == [None, None]
    mean = np.mean(list(ERRORS.values()))
    assert pooled["mean_absolute_error"].to_numpy() == pytest.approx(mean)
    for row in pooled.itertuples():
        same = table["student_components"] == row.student_components
        assert same.sum() == 1 + len(ERRORS)
    one_weight = outcomes().query("kl_weight == 2.0")
    assert errors(one_weight)["point"].notna().all()


def test_a_seed_that_lacks_a_weight_counts_where_it_is() -> None:
    found = outcomes()
    lost = (found["ordering"] == "K-A@p'") & (found["seed"] == 0) & (found["kl_weight"] == 4.0)
    table = select(errors(found[~lost]), ANCHOR_PART)
    assert table[table["kl_weight"] == 4.0]["seeds"].tolist() == [SEEDS - 1] * 2
    assert table[table["kl_weight"] == 2.0]["seeds"].tolist() == [SEEDS] * 2
    assert table[table["point"].isna()]["seeds"].tolist() == [SEEDS - 1] * 2


def test_where_the_anchor_part_was_not_measured_the_rewards_score_it() -> None:
    table = errors(outcomes(("K-A", "A-K")))
    assert select(table, ANCHOR_PART).empty
    ka = select(table, "reward of K-A, ")
    assert ka["bias"].to_numpy() == pytest.approx(0.05 * 8)
    assert (ka["unit"] == "reward").all()
    aligned = select(table, "reward of p'_AK")
    assert aligned["bias"].to_numpy() == pytest.approx(0.05 * 8)
    assert select(table, "reward of K-A@p'").empty


def test_a_alone_stands_for_a_k_s_intermediate() -> None:
    found = outcomes(("K-A", "A-K"))
    found["ordering"] = found["ordering"].replace("A-K", "A")
    found["p_prime_aligned.reward"] = np.nan
    aligned = select(errors(found), "reward of p'_AK")
    assert aligned["measured"].to_numpy() == pytest.approx(START + 0.7 * 8)


def test_nothing_ran() -> None:
    found = outcomes(("K-A", "A-K"))
    found["final.reward"] = found["p_prime_aligned.reward"] = np.nan
    assert errors(found).empty
