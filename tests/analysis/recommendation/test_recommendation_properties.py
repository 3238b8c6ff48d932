"""What a recommendation never does, whatever the evidence: contradict the verdicts, or its unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recalltrap_analysis.estimates.contrasts import EQUAL_RECALL, WITHIN_BUDGET
from recalltrap_analysis.estimates.reward_recall import Curve
from recalltrap_analysis.recommendation.choice import (
    ALIGN_FIRST,
    DISTIL_FIRST,
    EITHER,
    KEEP_P_PRIME,
    LOWER_KL_WEIGHT,
    UNDECIDED,
    costs_of,
)
from recalltrap_analysis.recommendation.pair_verdicts import ONE_KEEPS_BUDGET, pair_verdicts
from recalltrap_analysis.recommendation.recommendation import recommend
from recalltrap_analysis.statistics.margin import LARGER, SMALL_FROM
from recalltrap_analysis.statistics.paired import Array
from tests.analysis.recommendation.orderings_evidence import COSTS, curve, evidence_of

MARGIN = 0.05


@st.composite
def curves(draw: st.DrawFn) -> list[Curve]:
    """Two to four orderings; attainments fall and recalls rise with the KL weight."""
    names = ["K-A", *draw(st.sets(st.sampled_from(["K-A@p'", "A-K", "mine"]), min_size=1))]
    seeds, width = draw(st.sampled_from([14, 10, 8, 5, 3, 1])), draw(st.sampled_from([4, 3, 2, 1]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.005, 0.03, 0.1]))
    slope = np.linspace(0.9, 0.3, width)
    found = []
    for name in names:
        attained = slope + draw(st.sampled_from([-0.2, -0.1, 0.0, 0.0, 0.02, 0.06, 0.1, 0.2]))
        recall = np.linspace(-4.0, -0.2, width) - draw(st.sampled_from([0.0, 0.0, 0.3, 6.0]))
        found.append(
            curve(
                name,
                attained + spread * generator.normal(size=(seeds, width)),
                recall
                + draw(st.sampled_from([0.0, 0.0, 0.3])) * generator.normal(size=(seeds, width)),
                seeds=seeds,
                noise=0.0,
                weights=tuple(2.0**place for place in range(width)),
            )
        )
    return found


PRICES = st.sampled_from([COSTS, {"K-A": 2.0, "K-A@p'": 1.0, "A-K": 1.9, "mine": 0.5}, None])
LEVELS = st.sampled_from([0.05, 0.02])


@settings(max_examples=120, deadline=None)
@given(curves(), PRICES, LEVELS)
def test_it_never_contradicts_the_verdicts(
    arms: list[Curve], costs: dict[str, float] | None, level: float
) -> None:
    evidence = evidence_of(*arms, costs=costs)
    found = recommend(evidence, MARGIN, level)
    verdicts = pair_verdicts(evidence, MARGIN, level)
    if found.word == UNDECIDED:
        assert found.missing
        return
    spent = costs_of(evidence.candidates)
    mine = {pair[1]: one for pair, one in verdicts.items() if pair[0] == found.ordering}
    for other, one in mine.items():
        assert not verdicts[other, found.ordering].first_is_better
        assert verdicts[other, found.ordering].first_is_no_better
        dearer = bool(spent) and spent[other] > spent[found.ordering]
        if not dearer and found.word != EITHER:
            assert one.first_is_better
        if len(arms[0].seeds) < SMALL_FROM:  # silence of a few seeds is no verdict
            assert one.first_is_better
        assert not one.contradiction
    against_ka = mine.get("K-A")
    if found.word in (ALIGN_FIRST, KEEP_P_PRIME, "mine") and costs == COSTS:
        assert against_ka is not None
        assert against_ka.difference.words == LARGER or against_ka.comparison == ONE_KEEPS_BUDGET
    if found.word in (DISTIL_FIRST, LOWER_KL_WEIGHT):
        assert found.ordering == "K-A"
    if found.comparison == ONE_KEEPS_BUDGET:  # the few seeds that have both tell nothing
        assert np.isnan(found.gain)
        assert np.isnan(found.recall_difference)
        assert not found.recall_words
    if found.comparison in (WITHIN_BUDGET, EQUAL_RECALL):
        assert found.gain_low <= found.gain <= found.gain_high or found.seeds == 1


def scaled(arm: Curve, by: float, up: float = 0.0) -> Curve:
    return replace(arm, attainment=by * arm.attainment + up)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(curves(), PRICES, st.sampled_from([0.25, 4.0]), st.sampled_from([0.125, 8.0]))
def test_units_and_seeds_names_decide_nothing(
    arms: list[Curve], costs: dict[str, float] | None, by: float, price: float
) -> None:
    """The unit of rewards with its margin, that of costs, and the order of the seeds."""
    plain = recommend(evidence_of(*arms, costs=costs), MARGIN)
    prices = costs and {name: price * cost for name, cost in costs.items()}
    turned = [
        replace(scaled(arm, by), recall=arm.recall[::-1], attainment=(by * arm.attainment)[::-1])
        for arm in arms
    ]
    other = recommend(evidence_of(*turned, costs=prices), by * MARGIN)
    assert (other.word, other.ordering, other.kl_weight) == (
        plain.word, plain.ordering, plain.kl_weight
    )  # fmt: skip
    if plain.comparison in (WITHIN_BUDGET, EQUAL_RECALL):
        assert other.gain == pytest.approx(by * plain.gain)


def repeated(arm: Curve, times: int) -> Curve:
    """Every seed's values so many times: more seeds of the same mean and spread."""

    def tiled(values: Array) -> Array:
        return np.tile(values, (times, 1))

    return replace(
        arm,
        seeds=tuple(range(times * len(arm.seeds))),
        attainment=tiled(arm.attainment),
        recall=tiled(arm.recall),
        recall_p_prime=tiled(arm.recall_p_prime),
        start=tiled(arm.start),
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(curves(), PRICES, st.integers(2, 4))
def test_more_seeds_of_the_same_spread_never_turn_the_word_round(
    arms: list[Curve], costs: dict[str, float] | None, times: int
) -> None:
    few = recommend(evidence_of(*arms, costs=costs), MARGIN)
    many = recommend(evidence_of(*(repeated(arm, times) for arm in arms), costs=costs), MARGIN)
    if few.word == ALIGN_FIRST:
        assert many.word not in (DISTIL_FIRST, LOWER_KL_WEIGHT)
    if few.word in (DISTIL_FIRST, LOWER_KL_WEIGHT):
        assert many.word != ALIGN_FIRST


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(curves(), PRICES)
def test_a_stricter_level_only_takes_decisions_back(
    arms: list[Curve], costs: dict[str, float] | None
) -> None:
    evidence = evidence_of(*arms, costs=costs)
    if (strict := recommend(evidence, MARGIN, 0.01)).word not in (UNDECIDED, DISTIL_FIRST):
        assert recommend(evidence, MARGIN, 0.05).word in (strict.word, UNDECIDED)
