"""What to do, case by case, and never against the verdicts that it rests on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from recalltrap_analysis.estimates.candidates import StratumEvidence
from recalltrap_analysis.estimates.reward_recall import Curve
from recalltrap_analysis.recommendation.choice import (
    ALIGN_FIRST,
    DISTIL_FIRST,
    EITHER,
    KEEP_P_PRIME,
    LOWER_KL_WEIGHT,
    UNDECIDED,
)
from recalltrap_analysis.recommendation.recommendation import Recommendation, recommend
from tests.analysis.recommendation.orderings_evidence import (
    ATTAINED_KA,
    RECALL_KA,
    curve,
    evidence_of,
)

MARGIN = 0.05
KA = curve("K-A", ATTAINED_KA)


def moved(ordering: str, by: float, **named: Any) -> Curve:
    """K-A's curve with so much more attainment at every KL weight."""
    return curve(ordering, np.array(ATTAINED_KA) + by, **named)


def single(ordering: str, attained: float, recall: float) -> Curve:
    """One KL weight."""
    return curve(ordering, (attained,), (recall,), weights=(1.0,))


def lacking(arm: Curve, seeds: int) -> Curve:
    """With some cells that never finished."""
    attained = arm.attainment.copy()
    attained[:seeds, 1] = np.nan
    return replace(arm, attainment=attained)


FAR = (-6.0, -6.0, -6.0, -6.0)


def in_seeds(keeping: int, seeds: int = 12) -> np.ndarray:
    """K-A's recalls in so many seeds, recalls far below in the others; shape [seeds, 4]."""
    return np.array([RECALL_KA] * keeping + [FAR] * (seeds - keeping))


FEW = {"seeds": 5}


@dataclass(frozen=True)
class Case:
    """Evidence, the word, and what the recommendation must say somewhere."""

    evidence: StratumEvidence
    word: str
    says: tuple[str, ...] = ()


CASES = {
    "A-K better": Case(
        evidence_of(KA, moved("A-K", 0.3)), ALIGN_FIRST,
        ("A-K attains 0.30", "1.50 times what K-A does", "K-A@p') wasn't tried"),
    ),
    "A-K worse": Case(evidence_of(KA, moved("A-K", -0.3)), DISTIL_FIRST, ("K-A attains 0.30",)),
    "level, A-K costs more": Case(evidence_of(KA, moved("A-K", 0.0)), DISTIL_FIRST),
    "level at the same cost": Case(
        evidence_of(KA, moved("A-K", 0.0), costs={"K-A": 1.0, "A-K": 1.05}), EITHER
    ),
    "level, costs unknown": Case(
        evidence_of(KA, moved("A-K", 0.0), costs=None), EITHER, ("cost isn't known",)
    ),
    "level, but K-A@p' is better than both": Case(
        evidence_of(KA, moved("K-A@p'", 0.2), moved("A-K", 0.0), costs=None), KEEP_P_PRIME
    ),
    "A-K better, costs unknown": Case(
        evidence_of(KA, moved("A-K", 0.3), costs=None), ALIGN_FIRST, ("cost isn't known",)
    ),
    "K-A@p' level with K-A, costs unknown": Case(
        evidence_of(KA, moved("K-A@p'", 0.0), moved("A-K", -0.3), costs=None), UNDECIDED,
        ("which of them costs less isn't known",),
    ),
    "A-K dominated by K-A at a lower weight": Case(
        evidence_of(KA, curve("A-K", (0.8, 0.8, 0.8, 0.78), FAR)), LOWER_KL_WEIGHT,
        ("Lower K-A's KL weight to 2", "one of the weight", "in 100% of seeds some K-A has more",
         "A-K in 0 of 12"),
    ),
    "the same, and K-A has nothing below the largest weight": Case(
        evidence_of(KA, curve("A-K", (0.8, 0.8, 0.8, 0.78), FAR), budget=0.8), DISTIL_FIRST
    ),
    "a lead in the seeds that keep the budget, which others don't": Case(
        evidence_of(KA, curve("A-K", np.array(ATTAINED_KA) + 0.3, in_seeds(7))), UNDECIDED,
        ("(7 seeds), larger than the margin; K-A keeps the budget in more seeds",
         "another budget, or more KL weights"),
    ),
    "level in the seeds that keep the budget, which others don't": Case(
        evidence_of(
            moved("K-A", 0.0, seeds=14),
            curve("A-K", np.array(ATTAINED_KA) + 0.02, in_seeds(9, 14), seeds=14),
            costs=None,
        ),
        DISTIL_FIRST,
        ("it keeps that budget in more seeds (K-A in 14 of 14 seeds; A-K in 9 of 14 seeds)",),
    ),
    "K-A@p' level with A-K": Case(
        evidence_of(KA, moved("K-A@p'", 0.3), moved("A-K", 0.3)), KEEP_P_PRIME
    ),
    "A-K better than K-A@p' too": Case(
        evidence_of(KA, moved("K-A@p'", 0.15), moved("A-K", 0.3)), ALIGN_FIRST
    ),
    "an anchor part, no order effect": Case(
        evidence_of(KA, moved("K-A@p'", 0.2), moved("A-K", 0.0)), KEEP_P_PRIME
    ),
    "an anchor part at equal weight alone": Case(
        evidence_of(KA, curve("K-A@p'", (0.95, 0.9, 0.7, 0.5), (-7.0, -4.0, -2.0, -1.0)),
                    moved("A-K", 0.0)),
        DISTIL_FIRST,
    ),
    "one KL weight": Case(
        evidence_of(single("K-A", 0.4, -1.0), single("A-K", 0.7, -1.0)),
        ALIGN_FIRST, ("holds at the one KL weight tried, 1", "holds at that weight alone"),
    ),
    "one KL weight, a gain beyond the budget": Case(
        evidence_of(single("K-A", 0.4, -1.0), single("A-K", 0.7, -3.0)),
        UNDECIDED, ("loses more recall than the budget", "run more KL weights"),
    ),
    "one KL weight, nothing gained beyond the budget": Case(
        evidence_of(single("K-A", 0.4, -1.0), single("A-K", 0.4, -3.0)),
        DISTIL_FIRST,
    ),
    "too few seeds to call them level": Case(
        evidence_of(moved("K-A", 0.0, **FEW), moved("A-K", 0.0, **FEW)), UNDECIDED, ("more seeds",)
    ),
    "a lead that few seeds show": Case(
        evidence_of(moved("K-A", 0.0, **FEW), moved("A-K", 0.3, **FEW)), ALIGN_FIRST, ("5 seeds",)
    ),
    "the best mean of few seeds is no lead": Case(
        evidence_of(moved("K-A", 0.0, **FEW), moved("A-K", -0.04, **FEW)), UNDECIDED
    ),
    "one seed": Case(
        evidence_of(moved("K-A", 0.0, seeds=1), moved("A-K", 0.3, seeds=1)), UNDECIDED,
        ("one seed has no interval",),
    ),
    "noise": Case(
        evidence_of(moved("K-A", 0.0, noise=0.4), moved("A-K", 0.1, noise=0.4)), UNDECIDED,
        ("more seeds",),
    ),
    "a difference as large as the margin": Case(
        evidence_of(KA, moved("A-K", MARGIN)), UNDECIDED, ("it is for you to say",)
    ),
    "noise about the margin": Case(
        evidence_of(KA, curve("A-K", np.array(ATTAINED_KA) + MARGIN, noise=0.2), budget=0.9),
        UNDECIDED, ("can't be settled at a sensible cost",),
    ),
    "no seed within the budget": Case(
        evidence_of(KA, moved("A-K", 0.3), budget=0.1), ALIGN_FIRST, ("at equal recall",)
    ),
    "nothing within the budget and one KL weight": Case(
        evidence_of(single("K-A", 0.4, -3.0), single("A-K", 0.7, -3.0)),
        UNDECIDED, ("0 have both within the recall budget",),
    ),
    "a custom ordering": Case(
        evidence_of(KA, moved("A-K", 0.1), moved("mine", 0.3)), "mine", ("Use mine",)
    ),
    "comparisons that deny each other": Case(
        evidence_of(KA, curve("A-K", (0.2, 0.2, 0.75, 0.2))), UNDECIDED,
        ("within the recall budget it is +0.25", "at equal recall"),
    ),
    "a grid too coarse to read": Case(
        evidence_of(
            curve("K-A", (0.9, 0.3), (-4.0, 0.0), weights=(0.5, 4.0)),
            curve("A-K", (0.38, 0.38), (-1.0, -0.9), weights=(0.5, 4.0), noise=0.1),
        ),
        UNDECIDED, ("the grid of KL weights is too coarse",),
    ),
    "incomplete cells": Case(
        evidence_of(KA, lacking(moved("A-K", 0.3), 3)), UNDECIDED,
        ("A-K: incomplete: 3 of 12 seeds lack a part",),
    ),
    "a rival's incomplete cells": Case(
        evidence_of(KA, lacking(moved("K-A@p'", 0.3), 3), moved("A-K", 0.3)), ALIGN_FIRST,
        ("K-A@p' is left out: incomplete",),
    ),
    "other seeds": Case(
        evidence_of(KA, moved("A-K", 0.3, seeds=9)), UNDECIDED, ("different seeds",)
    ),
    "no recall": Case(
        evidence_of(KA, curve("A-K", ATTAINED_KA, (np.nan,) * 4)), UNDECIDED, ("A-K: incomplete",)
    ),
    "no recall anywhere": Case(
        evidence_of(*(curve(name, ATTAINED_KA, (np.nan,) * 4) for name in ("K-A", "A-K"))),
        UNDECIDED, ("no overall recall was measured",),
    ),
    "no unit": Case(
        evidence_of(KA, moved("A-K", 0.3), unit=""), UNDECIDED, ("no supremum is known",)
    ),
    "K-A alone": Case(evidence_of(KA), UNDECIDED, ("nothing to compare",)),
    "no K-A": Case(evidence_of(moved("K-A@p'", 0.0), moved("A-K", 0.3)), ALIGN_FIRST),
    "nothing": Case(evidence_of(), UNDECIDED, ("no ordering of the study aligns",)),
}  # fmt: skip


def everything_said(found: Recommendation) -> str:
    return "\n".join((found.sentence, *found.reasons, *found.conditions, *found.missing))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_cases(case: Case) -> None:
    found = recommend(case.evidence, MARGIN)
    text = everything_said(found)
    assert found.word == case.word, text
    assert not [phrase for phrase in case.says if phrase not in text], text
    assert (found.word == UNDECIDED) == bool(found.missing)
    assert "nan" not in text.replace("can", "")


def test_a_loss_of_recall_is_told_in_plain_words() -> None:
    """e^-0.4 is 67 %."""
    recall = np.array(RECALL_KA) - 0.4
    for unit, of in (
        ("nats", "a held-out sample of p*"),
        ("nats per token", "a token of p*'s texts"),
    ):
        found = recommend(
            evidence_of(KA, moved("A-K", 0.3, recall=recall), recall_unit=unit), MARGIN
        )
        assert found.word == ALIGN_FIRST
        assert found.recall_difference == pytest.approx(-0.4)
        assert f"costs 0.40 [0.40, 0.40] {unit}" in found.sentence
        assert f"likelihood of {of} falls to 67% of K-A's" in found.sentence
    found = recommend(evidence_of(KA, moved("A-K", 0.3)), MARGIN)
    assert "no sure difference in overall recall" in found.sentence


def test_the_record_is_json_and_the_html_is_escaped() -> None:
    found = recommend(evidence_of(KA, moved("A-K", 0.3), costs=None), MARGIN)
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["flops_ratio"] is None
    assert record["word"] == ALIGN_FIRST
    html = replace(found, sentence="a < b")._repr_html_()
    assert "a &lt; b" in html
    assert html.count("<li>") == len(found.reasons) + len(found.conditions)
