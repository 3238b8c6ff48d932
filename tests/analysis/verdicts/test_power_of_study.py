"""What a study's primary can decide: by its strata, seeds, looks, and the spread of a relative."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from recalltrap.errors import InputError
from recalltrap.study.primary import Primary
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.power import detectable_effect, power_larger
from recalltrap_analysis.verdicts.power_of_study import Decidable, decidable

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

GRID = {"teacher_sharpness": (1.25, 10.0), "kl_weight": (0.5, 1.0, 2.0)}


def of(run: FakeRun, **given: Any) -> Decidable:
    found = decidable(run.study, run.planned(), run.axes, **given)
    assert found is not None
    return found


def test_strata_share_the_risk(make_run: MakeRun) -> None:
    one, two = (
        of(make_run(grid=grid, seeds=10), sd=0.1) for grid in ({"kl_weight": (1.0, 2.0)}, GRID)
    )
    assert (one.strata, two.strata) == (1, 2)
    assert (one.level, two.level) == (0.05, 0.025)
    assert one.detectable == (detectable_effect(0.1, 10, 0.05),) * 2
    assert two.detectable[0] > one.detectable[0]
    assert one.not_larger is not None
    assert one.not_larger[0] == pytest.approx(0.1 - one.detectable[0])


def test_looks_cost_power_and_the_last_one_counts(make_run: MakeRun) -> None:
    run = make_run(seeds=12)
    looked = replace(run, study=replace(run.study, looks=(5, 8, 12)))
    found = of(looked, sd=0.1)
    assert (found.seeds, found.looks) == (12, (5, 8, 12))
    assert found.level == nominal_level((5, 8, 12))
    assert power_larger(found.detectable[0], 0.1, 12, 0.05, found.level) == pytest.approx(0.8)
    assert (
        "with 12 seeds (5, 8 and 12 are looked at)" in dict(found.rows())["detects with 80% power"]
    )


def test_seeds_of_an_earlier_look_cost_power_and_are_not_those_planned(make_run: MakeRun) -> None:
    run = make_run(seeds=8)
    found = of(replace(run, study=replace(run.study, looks=(5, 8, 20))), sd=0.1)
    assert found.seeds == 8
    assert found.level == nominal_level((5, 8, 20))
    assert "with 8 seeds" in dict(found.rows())["detects with 80% power"]


def test_the_spread_of_a_relative(make_run: MakeRun) -> None:
    def noisy(point: Any) -> float:
        return 0.3

    relative = make_run(grid=GRID, order_effect=noisy, noise=0.07, seeds=12, name="fake/relative")
    unlike = make_run(orderings=("K-A", "A"), seeds=4)
    damaged = replace(relative, refuses="damaged")
    found = of(make_run(seeds=8), relatives=[unlike, damaged, relative])
    assert found.sd_from == "as found in fake/relative with 12 seeds"
    assert 0.03 < found.sd[0] <= found.sd[1] < 0.14
    assert found.detectable[0] <= found.detectable[1]
    assert found.not_larger is not None
    assert found.not_larger[0] <= found.not_larger[1]
    guess = of(make_run(seeds=8), relatives=[unlike])
    assert "guess" in guess.sd_from
    assert guess == of(make_run(seeds=8))
    one_weight = of(make_run(seeds=8, grid={"iterations": (5, 9)}))
    assert one_weight.sd[0] > guess.sd[0]  # of several weights the mean differs less
    at_one = Primary(contrast=("A-K", "K-A"), at=2.0)
    placed = make_run(seeds=8)
    placed = replace(placed, study=replace(placed.study, primary=at_one))
    assert of(placed).sd == one_weight.sd


def test_in_words(make_run: MakeRun) -> None:
    assert of(make_run(grid=GRID, seeds=10), sd=0.1).rows() == [
        ("primary", "A-K − K-A, mean over 3 KL weights, in each of 2 strata"),
        (
            "detects with 80% power",
            "a true effect of 0.15 with 10 seeds; margin 0.05 of attainment",
        ),
        ("can call not larger up to", "a true effect of -0.05"),
        ("spread over seeds", "sd 0.10: as given"),
    ]
    few = of(make_run(seeds=5, grid={"iterations": (5, 9)}))
    assert few.not_larger is None
    said = dict(few.rows())
    assert said["can call not larger up to"] == "nothing: that takes 8 seeds"
    assert said["primary"] == "A-K − K-A, at its one KL weight, in each of 2 strata"
    one = dict(of(make_run(seeds=1)).rows())
    assert one["detects with 80% power"] == "nothing: one seed has no spread"


def test_no_primary_and_no_spread(make_run: MakeRun) -> None:
    run = make_run(orderings=("A-K", "A"), seeds=2)
    assert decidable(run.study, run.planned(), run.axes) is None
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="sd must be"):
            of(make_run(seeds=2), sd=wrong)
