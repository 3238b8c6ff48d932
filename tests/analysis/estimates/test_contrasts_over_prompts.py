"""Comparisons at equal recall and within the budget, over seeds × held-out prompts.

Shapes: N seeds, W KL weights, P prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from recalltrap_analysis.estimates.candidates import Pair, stratum_evidence
from recalltrap_analysis.estimates.contrasts import (
    BEST_GRID_POINT,
    EQUAL_RECALL,
    READINGS,
    reading_by_prompt,
    readings_against,
)
from recalltrap_analysis.estimates.reward_recall import Curve
from recalltrap_analysis.recommendation.pair_verdicts import difference_of
from recalltrap_analysis.statistics.paired import Array

WEIGHTS = (1.0, 2.0, 3.0, 4.0)
NAMES: Mapping[str, str] = {EQUAL_RECALL: "equal_recall_N", BEST_GRID_POINT: "best_grid_N"}


def curve(ordering: str, reward_NWP: Array, recall_NW: Array) -> Curve:
    reward_NW, nothing = reward_NWP.mean(axis=2), np.full_like(recall_NW, np.nan)
    points = tuple((weight,) for weight in WEIGHTS)
    return Curve(
        ordering, (), WEIGHTS, points, tuple(range(len(recall_NW))), reward_NW, reward_NW, nothing,
        recall_NW, np.zeros_like(recall_NW), nothing, np.zeros_like(recall_NW), reward_NWP,
    )  # fmt: skip


def arms(
    generator: np.random.Generator, n: int, p: int, of_seeds: float, of_prompts: float
) -> tuple[Curve, Curve]:
    """Two orderings on the same line of reward over recall, each with seeds and prompts of its own.

    Recall rises and reward falls by the KL weight; the second has weights in between.
    """
    found = []
    for name, shift in (("K-A", 0.0), ("A-K", 0.5)):
        place_W = np.array(WEIGHTS) + shift
        recall_NW = np.tile(place_W - 5.0, (n, 1))
        noise_NWP = of_seeds**0.5 * generator.normal(size=(n, 1, 1))
        noise_NWP = noise_NWP + of_prompts**0.5 * generator.normal(size=(1, 1, p))
        noise_NWP = noise_NWP + 0.3 * generator.normal(size=(n, len(WEIGHTS), p))
        found.append(curve(name, 10.0 - 2.0 * place_W[:, None] + noise_NWP, recall_NW))
    return found[0], found[1]


def compared(first: Curve, second: Curve) -> Pair:
    [pair] = stratum_evidence([first, second], {}, 3.0, unit="attainment").pairs
    return pair


@pytest.mark.parametrize("name", NAMES)
def test_a_reading_by_prompt_is_the_reading_in_the_mean(name: str) -> None:
    generator = np.random.default_rng(0)
    first, second = (
        curve(one, generator.normal(size=(5, 4, 7)), generator.normal(size=(5, 4)))
        for one in ("A-K", "K-A")
    )
    values_NW, share_NWV = READINGS[name](readings_against(first, second))
    by_prompt_NWP = reading_by_prompt(first, second, values_NW, share_NWV)
    assert 0 < np.isfinite(values_NW).sum() < values_NW.size
    np.testing.assert_allclose(by_prompt_NWP.mean(axis=2), values_NW, atol=1e-12)
    np.testing.assert_allclose(share_NWV.sum(axis=2), 1.0)


def test_a_pair_s_differences_by_prompt_are_its_differences_in_the_mean() -> None:
    pair = compared(*arms(np.random.default_rng(1), 6, 9, 0.1, 1.0))
    for name in ("within_N", "equal_recall_N", "best_grid_N", "equal_weight_N"):
        np.testing.assert_allclose(pair.by_prompt[name].mean(axis=1), getattr(pair, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["equal_recall_N", "within_N"])
def test_bounds_over_seeds_and_prompts_are_wrong_as_rarely_as_they_say(name: str) -> None:
    """Where prompts vary: 5 % on either side, by which a t over seeds alone is wrong far more."""
    generator = np.random.default_rng(2)
    wrong = dict.fromkeys(("both", "seeds alone"), 0)
    simulations = 400
    for _ in range(simulations):
        pair = compared(*arms(generator, 5, 30, 0.01, 1.0))
        # A-K's weights lie half a step higher, where each step costs 2: the budget's own weights
        # differ by that, and at equal recall the line is the same for both.
        truth = -1.0 if name == "within_N" else 0.0
        found = difference_of(pair, name, 0.05, 0.05)
        wrong["both"] += found.lower > truth
        alone = difference_of(replace(pair, by_prompt={}), name, 0.05, 0.05)
        wrong["seeds alone"] += alone.lower > truth
    assert wrong["both"] / simulations < 0.09
    assert wrong["seeds alone"] / simulations > 0.2
