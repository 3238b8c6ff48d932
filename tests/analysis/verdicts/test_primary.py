"""The primary endpoint: one value a seed, Holm over strata, looks, and the fixed sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from recalltrap.registry import room
from recalltrap.study.primary import Primary
from recalltrap_analysis.estimates.attainment import cell_attainments
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.margin import (
    LARGER,
    SMALLER,
    UNDECIDED,
    WITHIN,
    margin_words,
)
from recalltrap_analysis.verdicts.judgement import Judgement, PrimaryEndpoint, judgement_of
from recalltrap_analysis.verdicts.primary import (
    ANCHOR,
    Sample,
    judged,
    more_seeds,
    primary_table,
    slope_per_doubling,
    undecided_strata,
)

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

WITH_ANCHOR = ("K-A", "A-K", "A", "K-A@p'")
WEIGHTS = (0.5, 1.0, 2.0)


def outcomes_of(run: FakeRun, anchor: float | None = None, jitter: float = 0.0) -> pd.DataFrame:
    """The run's outcomes, with noise of its own on every attainment of A-K.

    With `anchor`, attainments of K-A@p' lie so much above those of K-A.
    """
    outcomes = cell_outcomes(run.table("metrics"), run.axes, "reward_height")
    room_left = 10.0 - outcomes["p_second.reward"]
    noise = np.random.default_rng(0).normal(size=len(outcomes))
    lifts = {"A-K": jitter * noise}
    if anchor is not None:
        lifts["K-A@p'"] = anchor + 0.002 * noise
    for ordering, lift in lifts.items():
        moved = outcomes["ordering"] == ordering
        outcomes.loc[moved, "final.reward"] += (lift * room_left)[moved]
    return outcomes


def table_of(
    run: FakeRun, anchor: float | None = None, jitter: float = 0.0, **changes: Any
) -> pd.DataFrame:
    kind = record_of(run.study.kind)
    outcomes = outcomes_of(run, anchor, jitter)
    judgement = replace(judgement_of(run, kind, outcomes), **changes)
    return primary_table(outcomes, Design.of(run.planned(), run.axes), kind, judgement)


def differences(
    run: FakeRun, sharpness: float | None = None, jitter: float = 0.0
) -> np.ndarray[Any, Any]:
    """A-K minus K-A by seed and KL weight; shape [N, W]."""
    cells = cell_attainments(outcomes_of(run, jitter=jitter), Design.of(run.planned(), run.axes))
    if sharpness is not None:
        cells = cells[[point[0] == sharpness for point in cells["point"]]]
    wide = cells.pivot_table(index=["seed", "point"], columns="ordering", values="attainment")
    return (wide["A-K"] - wide["K-A"]).unstack("point").to_numpy(dtype=float)


def two_strata(point: Any) -> float:
    return 0.3 if point["teacher_sharpness"] == 10.0 else 0.04


GRID = {"teacher_sharpness": (1.25, 10.0), "kl_weight": WEIGHTS}


@pytest.mark.parametrize("at", ["mean", "slope", 2.0])
def test_the_value_of_a_seed(make_run: MakeRun, at: Any) -> None:
    run = make_run(order_effect=lambda p: 0.1 * p["kl_weight"], noise=0.03, seeds=9)
    table = table_of(run, jitter=0.03, primary=PrimaryEndpoint(("A-K", "K-A"), at))
    (row,) = table.to_dict("records")
    values_NW = differences(run, jitter=0.03)
    values_N = {
        "mean": values_NW.mean(axis=1),
        "slope": np.array([np.polyfit(np.log2(WEIGHTS), values, 1)[0] for values in values_NW]),
        2.0: values_NW[:, 2],
    }[at]
    low, high = stats.t.interval(0.95, 8, values_N.mean(), stats.sem(values_N))
    assert (row["value"], row["low"], row["high"]) == pytest.approx((values_N.mean(), low, high))
    assert row["sd"] == pytest.approx(values_N.std(ddof=1))
    larger = stats.ttest_1samp(values_N, 0.05, alternative="greater").pvalue
    assert row["p_larger"] == pytest.approx(larger)
    assert (row["n"], row["seeds"], row["at"], row["stratum"]) == (9, 9, at, "the only stratum")


@pytest.mark.slow
def test_holm_over_strata_is_that_of_statsmodels(make_run: MakeRun) -> None:
    run = make_run(grid=GRID, order_effect=two_strata, noise=0.05, seeds=8)
    table = table_of(run)
    values = [differences(run, sharpness).mean(axis=1) for sharpness in (1.25, 10.0)]
    for name, margin, side in (
        ("p_larger", 0.05, "greater"),
        ("p_smaller", -0.05, "less"),
        ("p_not_larger", 0.05, "less"),
        ("p_not_smaller", -0.05, "greater"),
    ):
        raw = [stats.ttest_1samp(one, margin, alternative=side).pvalue for one in values]
        assert table[name].tolist() == pytest.approx(multipletests(raw, method="holm")[1].tolist())
    assert table["words"].tolist()[1] == LARGER
    assert table["stratum"].tolist() == ["teacher_sharpness 1.25", "teacher_sharpness 10"]


def test_a_stratum_that_lacks_a_value_has_no_words_and_still_counts(make_run: MakeRun) -> None:
    def lacking(ordering: str, seed: int, point: Any) -> bool:
        return point["teacher_sharpness"] == 1.25 and seed == 3 and point["kl_weight"] == 1.0

    run = make_run(grid=GRID, order_effect=two_strata, noise=0.2, seeds=8)
    whole = table_of(run)
    table = table_of(
        make_run(grid=GRID, order_effect=two_strata, noise=0.2, seeds=8, missing=lacking)
    )
    bad, good = table.to_dict("records")
    assert bad["state"] == "incomplete: 1 of 8 seeds lack a value of both"
    assert (bad["words"], bad["more_seeds"], bad["n"], bad["seeds"]) == ("", "", 0, 8)
    assert np.isnan([bad["value"], bad["lower"], bad["p_larger"]]).all()
    alone = differences(run, 10.0)
    raw = stats.ttest_1samp(alone.mean(axis=1), 0.05, alternative="greater").pvalue
    assert good["p_larger"] == pytest.approx(2 * raw)
    assert whole["value"].notna().all()


@pytest.mark.slow
def test_looks_make_it_harder(make_run: MakeRun) -> None:
    run = make_run(order_effect=lambda p: 0.08, noise=0.1, seeds=8)
    p = table_of(run)["p_larger"].item()
    assert nominal_level((3, 5, 8)) < p < 0.05, "the case has to lie between the levels"
    assert table_of(run)["words"].item() == LARGER
    looked = table_of(run, looks=(3, 5, 8))
    assert looked["words"].item() == UNDECIDED
    assert looked["level"].item() == nominal_level((3, 5, 8))
    assert looked["lower"].item() > 0.05, "the bounds stay those of one look"


def test_the_anchor_part_waits_for_the_order_effect(make_run: MakeRun) -> None:
    run = make_run(grid=GRID, order_effect=two_strata, noise=0.01, seeds=8, orderings=WITH_ANCHOR)
    small, _, large, anchor = table_of(run, anchor=0.2).to_dict("records")
    assert small["words"] == WITHIN
    assert (large["endpoint"], anchor["endpoint"]) == ("order effect", ANCHOR)
    assert (large["words"], anchor["words"]) == (LARGER, LARGER)
    assert anchor["contrast"] == "K-A@p' − K-A"
    assert anchor["value"] == pytest.approx(0.2, abs=0.01)
    waiting = table_of(run, anchor=0.2).to_dict("records")[1]
    assert waiting["words"] == "not tested: the first comparison is within ±margin"
    assert waiting["value"] == pytest.approx(0.2, abs=0.01)
    assert np.isnan(waiting["p_larger"])
    # Its risk is shared by all strata, whether they are tested or not: what lets one stratum be
    # tested mustn't make its own test easier.
    assert anchor["p_not_smaller"] == pytest.approx(0, abs=1e-9)
    reverse = table_of(run, anchor=0.2, primary=PrimaryEndpoint(("K-A", "A-K"), "mean"))
    assert reverse["words"].tolist()[2:] == [SMALLER, LARGER]


def test_other_contrasts_have_no_anchor_part(make_run: MakeRun) -> None:
    run = make_run(orderings=WITH_ANCHOR, seeds=8)
    for contrast in (("A-K", "K-A@p'"), ("K-A@p'", "K-A")):
        table = table_of(run, primary=PrimaryEndpoint(contrast, "mean"))
        assert table["endpoint"].tolist() == ["difference"]


@pytest.mark.parametrize(("seeds", "words"), [(8, WITHIN), (5, "not seen in 5 seeds"),
                                              (1, UNDECIDED)])  # fmt: skip
def test_identical_arms(make_run: MakeRun, seeds: int, words: str) -> None:
    table = table_of(make_run(order_effect=lambda p: 0.0, noise=0.0, seeds=seeds))
    assert table["words"].item() == words
    assert table["value"].item() == pytest.approx(0, abs=1e-12)
    expected = {8: "", 5: "3 more seeds", 1: "not known: one seed has no spread"}
    assert table["more_seeds"].item() == expected[seeds]


@pytest.mark.slow
@settings(deadline=None)
@given(st.integers(2, 12), st.floats(-0.3, 0.3), st.floats(0.001, 0.3), st.integers(0, 99))
def test_one_stratum_and_one_look_are_the_words_of_the_bounds(
    seeds: int, mean: float, noise: float, draw: int
) -> None:
    values_N = np.random.default_rng(draw).normal(mean, noise, size=seeds)
    judgement = Judgement(0.05, 0.5, (), None)
    row = judged({(): Sample(values_N, "complete", seeds)}, judgement)[()]
    assert row["words"] == margin_words(row["lower"], row["upper"], seeds)
    open_ = row["words"] in (UNDECIDED, f"not seen in {seeds} seeds")
    assert bool(more_seeds(row, judgement, 1)) is open_


def test_a_slope_needs_weights_above_0() -> None:
    values_NW = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    assert slope_per_doubling(values_NW, (1, 2, 4)) == pytest.approx([1, 0])
    for weights in ((0, 1, 2), (1, 1, 1), (1, None, 2)):
        with pytest.raises(ValueError, match="two KL weights above 0"):
            slope_per_doubling(values_NW, weights)


def test_a_weight_that_is_no_axis_is_still_one(make_run: MakeRun) -> None:
    run = make_run(grid={"teacher_sharpness": (1.25, 10.0)}, noise=0.05, seeds=8)
    design = Design.of(run.planned(), run.axes)
    weight = design.settings[design.points[0]]["kl_weight"]
    found = table_of(run, primary=PrimaryEndpoint(("A-K", "K-A"), weight))
    assert found["value"].tolist() == table_of(run)["value"].tolist()
    for at, state in ((weight + 1, "no KL weight 2 here"), ("slope", "one KL weight has no slope")):
        table = table_of(run, primary=PrimaryEndpoint(("A-K", "K-A"), at))
        assert set(table["state"]) == {state}
        assert set(table["words"]) == {""}


def test_what_is_open_and_what_isnt(make_run: MakeRun) -> None:
    run = make_run(grid=GRID, order_effect=two_strata, noise=0.1, seeds=4)
    assert undecided_strata(run) == ["teacher_sharpness 1.25"]
    assert room("undecided") is undecided_strata

    def first_seed_fails(ordering: str, seed: int, point: Any) -> bool:
        return seed == 0 and bool(point["teacher_sharpness"] == 1.25)

    failed = make_run(
        grid=GRID, order_effect=two_strata, noise=0.1, seeds=4, failing=first_seed_fails
    )
    assert undecided_strata(failed) == []  # more seeds wouldn't make up for the one that failed
    assert undecided_strata(make_run(order_effect=lambda p: 0.0, noise=0.0, seeds=5)) != []
    assert undecided_strata(make_run(order_effect=lambda p: 0.0, noise=0.0, seeds=8)) == []


def test_a_study_without_a_primary(make_run: MakeRun) -> None:
    run = make_run(orderings=("A-K", "A"), seeds=3)
    assert table_of(run).empty
    assert {"stratum", "words", "p_larger", "more_seeds"} <= set(table_of(run).columns)
    assert undecided_strata(run) == []
    named = replace(run, study=replace(run.study, primary=Primary(contrast=("A-K", "A"), at=1.0)))
    assert table_of(named)["contrast"].item() == "A-K − A"
