"""What to do of a whole run: by stratum, and over the strata without pooling."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from recalltrap_analysis.recommendation.choice import ALIGN_FIRST, DISTIL_FIRST, UNDECIDED
from recalltrap_analysis.recommendation.recommendation import Recommendation
from recalltrap_analysis.recommendation.what_to_do import (
    over_strata,
    recommendation_records,
    recommendation_text,
    recommendations,
)
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.verdicts.summary import summarize

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun

GRID: dict[str, tuple[Any, ...]] = {"kl_weight": (0.5, 1.0, 2.0)}


@dataclass(frozen=True)
class Judged:
    margin: float = 0.05
    recall_budget: float = 3.0
    looks: tuple[int, ...] = ()


def of(
    run: FakeRun, judged: Judged | None = None, outcomes: pd.DataFrame | None = None
) -> tuple[list[Recommendation], Recommendation]:
    summary = summarize(run)
    return recommendations(
        summary.outcomes if outcomes is None else outcomes,
        Design.of(run.planned(), run.axes),
        run.planned(),
        run.table("costs").to_pandas(),
        record_of(run.study.kind),
        judged or Judged(),
        run.metrics(),
    )


def test_a_lead_in_one_stratum_alone_depends_on_its_axis(make_run: MakeRun) -> None:
    run = make_run(
        grid=GRID | {"student_components": (3, 4), "teacher_sharpness": (1.25, 10.0)},
        order_effect=lambda point: 0.3 if point["teacher_sharpness"] > 5 else -0.3,
    )
    found, overall = of(run)
    words = {one.stratum["teacher_sharpness"]: one.word for one in found}
    assert words == {1.25: DISTIL_FIRST, 10.0: ALIGN_FIRST}
    assert overall.word == "depends on teacher_sharpness"
    assert "distil first in 2 of 4" in overall.sentence
    assert "align first in 2 of 4" in overall.sentence
    assert np.isnan(overall.gain)
    assert overall.ordering == ""
    assert len(overall.reasons) == 4


def test_the_same_word_everywhere_stands(make_run: MakeRun) -> None:
    found, overall = of(make_run(grid=GRID | {"teacher_sharpness": (1.25, 10.0)}))
    assert {one.word for one in found} == {overall.word} == {ALIGN_FIRST}
    assert overall.sentence == "Align first, in all 2 strata."
    assert found[0].gain == pytest.approx(0.3, abs=0.05)
    assert found[0].unit == "attainment"


@pytest.mark.slow
def test_looks_make_it_stricter(make_run: MakeRun) -> None:
    run = make_run(grid=GRID, order_effect=lambda point: 0.3)
    [plain], _ = of(run)
    [looked], _ = of(run, Judged(looks=(3, 5, 10)))
    assert looked.level < plain.level == 0.05


def test_rewards_without_a_supremum_are_in_sds(make_run: MakeRun) -> None:
    run = make_run(grid=GRID)
    outcomes = summarize(run).outcomes.copy()
    outcomes["reward_supremum"] = np.nan
    [none], _ = of(run, outcomes=outcomes)
    assert none.word == UNDECIDED
    assert "no supremum is known and no reward_sd of p'" in none.sentence
    outcomes["p_prime.reward_sd"] = 2.0
    [found], _ = of(run, Judged(margin=0.1), outcomes)
    assert found.word == ALIGN_FIRST
    assert "sd of the reward under p' more than K-A" in found.sentence
    assert found.unit == "sd of the reward under p'"


@pytest.mark.slow
@pytest.mark.parametrize(
    "named",
    [
        {"seeds": 1}, {"orderings": ("A", "K")}, {"orderings": ("K-A",)}, {"orderings": ("A-K",)},
        {"missing": lambda *cell: True}, {"failing": lambda *cell: True},
        {"missing": lambda name, seed, point: name == "A-K" and seed == 1},
        {"spoilt": lambda name, seed, point: name == "K-A"},
        {"grid": {}}, {"grid": {"teacher_sharpness": (1.25, 10.0)}},
    ],
)  # fmt: skip
def test_what_a_run_lacks_is_said_and_never_raised(
    make_run: MakeRun, named: dict[str, Any]
) -> None:
    found, overall = of(make_run(**({"grid": GRID} | named)))
    assert found
    for one in found:
        assert one.sentence
        assert one.word != UNDECIDED or one.missing
    text = json.dumps(recommendation_records(found, overall), allow_nan=False)
    assert json.loads(text)["overall"]["word"] == overall.word
    assert recommendation_text(found, overall).startswith("What to do: ")


def strata(*words: str) -> list[Recommendation]:
    return [
        Recommendation(word, f"{word}.", {"sharpness": place, "size": place % 2})
        for place, word in enumerate(words)
    ]


@pytest.mark.parametrize(
    ("words", "overall"),
    [
        ([ALIGN_FIRST] * 3, ALIGN_FIRST),
        ([ALIGN_FIRST, ALIGN_FIRST, UNDECIDED], ALIGN_FIRST),
        ([ALIGN_FIRST, UNDECIDED, UNDECIDED], UNDECIDED),
        ([ALIGN_FIRST, DISTIL_FIRST, ALIGN_FIRST, DISTIL_FIRST], "depends on size"),
        ([ALIGN_FIRST, DISTIL_FIRST, DISTIL_FIRST, UNDECIDED], "depends on sharpness"),
        ([UNDECIDED] * 2, UNDECIDED),
        ([], UNDECIDED),
    ],
)
def test_over_strata(words: list[str], overall: str) -> None:
    found = over_strata(strata(*words))
    assert found.word == overall
    decided = [word for word in words if word != UNDECIDED]
    if 0 < len(decided) < len(words):
        assert f"undecided in {len(words) - len(decided)}" in found.sentence.lower()


def test_a_word_of_the_fewer_strata_is_said_with_its_places() -> None:
    found = over_strata(strata(ALIGN_FIRST, UNDECIDED, UNDECIDED))
    assert found.sentence == ("Undecided in 2 of 3 strata; align first at sharpness 0, size 0.")
    many = over_strata(strata(*[ALIGN_FIRST] * 4, *[UNDECIDED] * 5))
    assert many.sentence == "Undecided in 5 of 9 strata; align first in 4 of 9."


def test_words_that_two_axes_tell_together() -> None:
    found = [
        Recommendation(word, "", {"a": a, "b": b, "c": 0})
        for (a, b), word in {
            (0, 0): ALIGN_FIRST, (0, 1): DISTIL_FIRST, (1, 0): DISTIL_FIRST, (1, 1): ALIGN_FIRST
        }.items()
    ]  # fmt: skip
    assert over_strata(found).word == "depends on a and b"


def test_the_terminal_has_at_most_so_many_lines() -> None:
    found = strata(*[ALIGN_FIRST, DISTIL_FIRST] * 8)
    text = recommendation_text(found, over_strata(found), most=5)
    assert len(text.splitlines()) == 7
    assert text.endswith("and 11 more strata in the report")


def test_one_stratum_is_its_own_whole() -> None:
    [only] = strata(ALIGN_FIRST)
    assert over_strata([replace(only, gain=0.5)]).gain == 0.5
