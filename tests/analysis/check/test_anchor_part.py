"""The anchor part and the word on it, where the optimum is known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from recalltrap_analysis.check.anchor_part import Curves, anchor_part, chosen_mean
from recalltrap_analysis.check.decision import (
    COSTS_LITTLE,
    KEEP,
    UNDECIDED,
    Decision,
    decide,
)
from recalltrap_analysis.check.references import Pair
from recalltrap_analysis.runs.responses import Responses
from recalltrap_analysis.statistics.paired import Array


def responses(reward_KN: Array, judge_KN: Array | None = None) -> Responses:
    prompts = len(reward_KN)
    nothing = np.full_like(reward_KN, np.nan)
    judge = nothing if judge_KN is None else judge_KN
    names = tuple(map(str, range(prompts)))
    return Responses(reward_KN, judge, nothing, nothing, np.full(prompts, 1 / prompts), names)


def pair(prime: Sequence[Array], second: Sequence[Array], *, redrawn: bool = False) -> Pair:
    seeds = len(prime)
    return Pair(
        (((1.0,), 1.0),), "", tuple(range(seeds)), tuple(map(responses, prime)),
        tuple(map(responses, second)), (10.0,) * seeds, (10.0,) * seeds, redrawn,
    )  # fmt: skip


def hits(share: float, samples: int = 4000, best: float = 10.0) -> Array:
    return np.where(np.arange(samples) < round(share * samples), best, 0.0)[None]


def optimum(share: float, kl_weight: float) -> float:
    odds = share / (1 - share) * np.exp(10.0 / kl_weight)
    return float(10.0 * odds / (1 + odds))


def decided(both: Pair, kl_weight: float, margin: float = 0.05, looks: int = 1) -> Decision:
    found = anchor_part(both, kl_weight, Curves(both))
    assert found is not None
    return decide(found, margin, looks)


def test_it_is_the_difference_of_two_known_optima() -> None:
    both = pair([hits(0.02)], [hits(0.005)])
    found = anchor_part(both, 3.0, Curves(both))
    assert found is not None
    expected = (optimum(0.02, 3.0) - optimum(0.005, 3.0)) / 10.0
    assert found.spread.value == pytest.approx(expected)
    low, high = found.spread.bounds(0.025)
    assert low < expected < high


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_what_the_best_of_n_are_like_is_the_mean_over_all_subsets(n: int) -> None:
    reward_N = np.array([0.0, 2.0, 2.0, 1.0, 2.0, 0.0])
    judge_N = np.array([-1.0, -2.0, -4.0, -8.0, -9.0, -3.0])
    brute = []
    for subset in itertools.combinations(range(6), n):
        best = max(reward_N[list(subset)])
        brute.append(np.mean([judge_N[i] for i in range(6) if reward_N[i] == best]))
    one = responses(reward_N[None], judge_N[None])
    assert chosen_mean(one, one.judge_KN, n) == pytest.approx(np.mean(brute))


def test_a_reference_that_rarely_hits_is_no_anchor() -> None:
    decision = decided(pair([hits(0.05)], [hits(0.002)]), 3.0)
    assert decision.word == KEEP
    assert decision.low > 0.05


def test_two_that_are_alike_cost_little_where_samples_say_so() -> None:
    alike = pair([hits(0.2)], [hits(0.2)])
    decision = decided(alike, 3.0)
    assert decision.word == COSTS_LITTLE
    assert decision.high <= 0.05


def test_what_nobody_saw_is_not_called_small() -> None:
    """No hit of either: their optima agree exactly, and say nothing of rare hits that are there."""
    seen = hits(0.001, samples=3000)
    decision = decided(pair([seen], [np.zeros((1, 3000))]), 1.0)
    assert decision.word == UNDECIDED
    assert decision.more is not None


def test_a_target_that_nobody_hit_decides_nothing() -> None:
    nothing = np.zeros((1, 400))
    assert decided(pair([nothing], [nothing]), 1.0).word == UNDECIDED
    decision = decided(replace(pair([nothing], [nothing]), suprema=(np.nan,)), 1.0)
    assert decision.word == UNDECIDED
    assert decision.why == "no sample had another reward than the others"


def test_what_p_second_lacks_only_in_the_sample_does_not_keep_p_prime() -> None:
    """One in 100 of p' and none of 50 of p'': at a small weight they may be alike."""
    both = pair([hits(0.02, 50)], [np.zeros((1, 50))])
    found = anchor_part(both, 0.5, Curves(both))
    assert found is not None
    assert found.spread.value > 0.9
    assert decide(found, 0.05, 1).word == UNDECIDED


def test_few_effective_samples_never_say_that_little_is_lost() -> None:
    graded = np.linspace(0, 10, 500)[None]
    decision = decided(pair([graded], [graded]), 0.05)
    assert decision.word == UNDECIDED
    assert "effective samples" in decision.why


def test_the_scarcer_reference_is_the_one_that_is_named() -> None:
    fewer, more = np.linspace(0, 10, 250)[None], np.linspace(0, 10, 500)[None]
    assert decided(pair([more], [fewer]), 0.05).why.startswith("p'' leaves")
    assert decided(pair([fewer], [more]), 0.05).why.startswith("p' leaves")


def test_few_redrawn_seeds_never_say_that_little_is_lost() -> None:
    few = pair([hits(0.2)] * 3, [hits(0.2)] * 3, redrawn=True)
    decision = decided(few, 3.0)
    assert decision.word == UNDECIDED
    assert "8 are needed" in decision.why
    assert decision.more is not None
    assert decision.more.of == "seeds"
    assert decided(pair([hits(0.2)] * 8, [hits(0.2)] * 8, redrawn=True), 3.0).word == COSTS_LITTLE
    assert decided(pair([hits(0.2)] * 3, [hits(0.2)] * 3), 3.0).word == COSTS_LITTLE


def test_so_many_more_samples_as_it_says_would_decide() -> None:
    generator = np.random.default_rng(0)

    def drawn(samples: int) -> Pair:
        one, other = (np.where(generator.random((1, samples)) < h, 10.0, 0.0) for h in (0.06, 0.04))
        return pair([one], [other])

    decision = decided(drawn(500), 4.0)
    assert decision.word == UNDECIDED
    assert decision.more is not None
    assert decision.more.of == "samples"
    wanted = int(500 * decision.more.times)
    words = [decided(drawn(wanted), 4.0).word for _ in range(40)]
    assert sum(word != UNDECIDED for word in words) >= 20


def test_more_looks_ask_for_more() -> None:
    both = pair([hits(0.05, 400)], [hits(0.01, 400)])
    lows = [decided(both, 4.0, margin=0.0, looks=looks) for looks in (1, 1000)]
    assert [one.word for one in lows] == [KEEP, UNDECIDED]
