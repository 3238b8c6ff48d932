"""What so many seeds can tell, against simulation, scipy and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recalltrap_analysis.statistics.power import (
    detectable_effect,
    not_larger_effect,
    power_larger,
    seeds_needed,
)
from recalltrap_analysis.statistics.seeds_needed import MOST_SEEDS, sd_interval

MARGIN = 0.05
SD_OF_A_MEAN = 0.14 * math.sqrt((1 + 6 * 0.5) / 7)
"""Of a mean over seven points whose differences have an sd of 0.14 and a correlation of 0.5."""

effects = st.floats(-0.5, 0.5)
spreads = st.floats(0.01, 0.5)
seeds = st.integers(2, 40)


@pytest.mark.parametrize(
    ("effect", "powers"),
    [
        (0.2, {3: 0.50, 5: 0.83, 10: 0.99}),
        (0.1, {3: 0.14, 5: 0.23, 10: 0.40, 20: 0.65}),
    ],
)
def test_the_powers_of_the_science(effect: float, powers: dict[int, float]) -> None:
    """Of this rule on a grid's mean; the second row is also how often a true 0 is *not larger*."""
    for n, power in powers.items():
        assert power_larger(effect, SD_OF_A_MEAN, n, MARGIN) == pytest.approx(power, abs=0.015)


def test_power_is_the_share_of_simulated_studies() -> None:
    values_SN = np.random.default_rng(0).normal(0.15, 0.12, size=(40_000, 6))
    found = stats.ttest_1samp(values_SN, MARGIN, axis=1, alternative="greater").pvalue <= 0.02
    assert power_larger(0.15, 0.12, 6, MARGIN, 0.02) == pytest.approx(found.mean(), abs=0.008)
    not_larger = stats.ttest_1samp(values_SN, 0.25, axis=1, alternative="less").pvalue <= 0.02
    assert power_larger(2 * 0.25 - 0.15, 0.12, 6, 0.25, 0.02) == pytest.approx(
        not_larger.mean(), abs=0.008
    )


@given(spreads, seeds, st.floats(0, 0.2), st.sampled_from([0.01, 0.05]))
@settings(deadline=None)
def test_at_the_detectable_effect_the_power_is_what_was_asked(
    sd: float, n: int, margin: float, level: float
) -> None:
    effect = detectable_effect(sd, n, margin, level)
    assert power_larger(effect, sd, n, margin, level) == pytest.approx(0.8, abs=1e-6)
    assert not_larger_effect(sd, n, margin, level) == pytest.approx(2 * margin - effect)


@given(spreads, seeds, effects)
@settings(deadline=None)
def test_power_rises_with_seeds_and_effect_and_never_exceeds_the_level_within_the_margin(
    sd: float, n: int, effect: float
) -> None:
    now = power_larger(effect, sd, n, MARGIN)
    assert power_larger(effect + 0.05, sd, n, MARGIN) >= now - 1e-12
    if effect > MARGIN:
        assert power_larger(effect, sd, n + 1, MARGIN) >= now - 1e-9
    else:
        assert now <= 0.05 + 1e-9


def test_one_seed_and_no_spread() -> None:
    assert power_larger(9.0, 0.1, 1, MARGIN) == 0
    assert detectable_effect(0.1, 1, MARGIN) == math.inf
    assert (power_larger(0.06, 0.0, 2, MARGIN), power_larger(0.05, 0.0, 2, MARGIN)) == (1, 0)
    assert detectable_effect(0.0, 5, MARGIN) == MARGIN
    with pytest.raises(ValueError, match="spread"):
        detectable_effect(math.nan, 5, MARGIN)


@given(effects, spreads, st.integers(2, 20), st.integers(2, 12))
@settings(deadline=None)
def test_the_seeds_needed_have_the_power_and_one_less_has_not(
    mean: float, sd: float, n: int, least: int
) -> None:
    found = seeds_needed(mean, sd, n, MARGIN, least=least)
    assert least <= found.low <= found.high <= MOST_SEEDS or not found.sensible
    assert found.low > n or not found.sensible
    low_sd, high_sd = sd_interval(sd, n)
    distance = abs(mean - MARGIN)
    if found.sensible:
        assert power_larger(distance, low_sd, found.low, 0.0) >= 0.8
    if found.sensible and found.low > max(least, n + 1):
        assert power_larger(distance, low_sd, found.low - 1, 0.0) < 0.8
    if not found.capped:
        assert power_larger(distance, high_sd, found.high, 0.0) >= 0.8


def test_seeds_needed_in_words() -> None:
    assert seeds_needed(0.1, 0.1, 8, MARGIN).more_text(8) == "8 to 55 more seeds"
    assert seeds_needed(0.05, 0.1, 8, MARGIN).more_text(8) == (
        "can't be settled at a sensible cost (more than 100 seeds)"
    )
    assert seeds_needed(0.08, 0.1, 8, MARGIN).more_text(8) == "34 to over 92 more seeds"
    assert seeds_needed(0.5, 0.1, 8, MARGIN).more_text(8) == "1 more seed"
    assert seeds_needed(0.05, 0.0, 8, MARGIN).more_text(8) == "1 more seed"
