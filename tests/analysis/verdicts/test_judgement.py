"""What a study leaves open, and what it may not ask."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from recalltrap.errors import InputError
from recalltrap.study.primary import Primary
from recalltrap_analysis.estimates.attainment import ATTAINMENT, IN_SDS, NO_UNIT
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.margin import MARGIN, MARGIN_IN_SDS
from recalltrap_analysis.verdicts.judgement import (
    Judgement,
    PrimaryEndpoint,
    judgement_of,
    resolved,
)

if TYPE_CHECKING:
    from tests.analysis.conftest import FakeRun, MakeRun


def judged(run: FakeRun, **fields: Any) -> Judgement:
    run = replace(run, study=replace(run.study, **fields))
    kind = record_of(run.study.kind)
    outcomes = cell_outcomes(run.table("metrics"), run.axes, kind.reward_supremum)
    return judgement_of(run, kind, outcomes)


def test_what_is_open_is_resolved(make_run: MakeRun) -> None:
    run = make_run(orderings=("K-A", "A-K", "K", "A"), seeds=4)
    found = judged(run, looks=(4, 9))
    assert (found.margin, found.recall_budget) == (MARGIN, record_of("mog").recall_budget)
    assert found.contrasts == (("A-K", "K-A"), ("A", "K-A"))
    assert found.primary == PrimaryEndpoint(("A-K", "K-A"), "mean")
    assert found.looks == (4, 9)
    given = judged(run, margin=0.2, recall_budget=0.0, contrasts=(("A", "K"),),
                   primary=Primary(contrast=("A", "A-K"), at=2.0))  # fmt: skip
    assert (given.margin, given.recall_budget, given.contrasts) == (0.2, 0.0, (("A", "K"),))
    assert given.primary == PrimaryEndpoint(("A", "A-K"), 2.0)
    without = judged(make_run(orderings=("A-K", "A"), seeds=2))
    assert (without.primary, without.contrasts) == (None, ())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"margin": -0.1}, "margin must be"),
        ({"recall_budget": float("inf")}, "recall_budget must be"),
        ({"contrasts": (("A-K", "K-B"),)}, "no ordering 'K-B'"),
        ({"primary": Primary(contrast=("A-K", "A"))}, "no ordering 'A'"),
    ],
)
def test_what_the_study_does_not_have_is_refused(
    make_run: MakeRun, fields: dict[str, Any], message: str
) -> None:
    run = make_run(seeds=2)
    with pytest.raises(InputError, match=message):
        judged(run, **fields)


def test_the_margin_is_in_the_unit_of_rewards(make_run: MakeRun) -> None:
    study = make_run(seeds=3).study
    for unit, margin in ((ATTAINMENT, MARGIN), (IN_SDS, MARGIN_IN_SDS), (NO_UNIT, MARGIN)):
        found = resolved(study, record_of("mog"), (), unit)
        assert (found.margin, found.unit) == (margin, unit)
    assert resolved(replace(study, margin=0.3), record_of("mog"), (), IN_SDS).margin == 0.3
