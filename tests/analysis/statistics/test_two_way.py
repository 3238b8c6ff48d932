"""Means over seeds × prompts: the error against brute force, and how often verdicts are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.two_way import two_way_mean, two_way_possible


def layout(
    generator: np.random.Generator, n: int, p: int, of_seeds: float, of_prompts: float
) -> Array:
    """Seed, prompt and rest effects around 0; shape [N, P]."""
    seed_N1, prompt_1P = generator.normal(size=(n, 1)), generator.normal(size=(1, p))
    rest_NP = generator.normal(size=(n, p))
    found: Array = of_seeds**0.5 * seed_N1 + of_prompts**0.5 * prompt_1P + rest_NP
    return found


def test_the_error_is_unbiased_where_both_factors_vary() -> None:
    generator = np.random.default_rng(0)
    found = [two_way_mean(layout(generator, 6, 30, 0.3, 1.0)) for _ in range(2000)]
    true = 0.3 / 6 + 1.0 / 30 + 1 / 180
    assert np.mean([one.error**2 for one in found]) == pytest.approx(true, rel=0.03)
    assert np.var([one.value for one in found]) == pytest.approx(true, rel=0.08)


@given(st.floats(-5, 5), st.floats(0.1, 9), st.integers(0, 1000))
def test_it_moves_with_the_data(shift: float, scale: float, seed: int) -> None:
    values = layout(np.random.default_rng(seed), 4, 7, 0.2, 0.5)
    plain, moved = two_way_mean(values), two_way_mean(scale * values + shift)
    assert moved.value == pytest.approx(scale * plain.value + shift, abs=1e-9)
    assert moved.error == pytest.approx(scale * plain.error)
    assert moved.freedom == pytest.approx(plain.freedom)
    turned = two_way_mean(values.T)
    assert (turned.error, turned.freedom) == pytest.approx((plain.error, plain.freedom))
    alone = np.std(values.mean(axis=1), ddof=1) / 2
    assert plain.error >= alone - 1e-12  # never surer than seeds alone


def test_p_values_and_bounds_decide_alike() -> None:
    mean = two_way_mean(0.3 + 0.2 * layout(np.random.default_rng(3), 5, 20, 0.3, 0.3))
    p = mean.p_values(0.05)
    for alpha in (0.01, 0.05, 0.2):
        low, high = mean.bounds(alpha)
        assert (p["larger"] <= alpha) == (low >= 0.05)
        assert (p["not_larger"] <= alpha) == (high <= 0.05)
        assert (p["smaller"] <= alpha) == (high <= -0.05)
        assert (p["not_smaller"] <= alpha) == (low >= -0.05)
    interval = mean.interval()
    assert (interval.low, interval.high) == pytest.approx(mean.bounds(0.025))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 8])
@pytest.mark.parametrize("of_seeds", [0.01, 0.05])
@pytest.mark.parametrize("of_prompts", [0.0, 1.0])
def test_error_rates_at_few_seeds(seeds: int, of_seeds: float, of_prompts: float) -> None:
    """Wrong in 5 % or less on either side, where a t over seeds alone isn't sure of anything."""
    generator = np.random.default_rng(seeds)
    simulations, above, below, alone = 1500, 0, 0, 0
    for _ in range(simulations):
        values_NP = layout(generator, seeds, 50, of_seeds, of_prompts)
        low, high = two_way_mean(values_NP).bounds()
        above += low > 0
        below += high < 0
        seed_N = values_NP.mean(axis=1)
        half = stats.t.ppf(0.975, seeds - 1) * seed_N.std(ddof=1) / seeds**0.5
        alone += abs(seed_N.mean()) <= half
    assert max(above, below) / simulations < 0.07
    if of_prompts:
        assert alone / simulations < 0.93


def test_one_prompt_or_one_seed_is_no_layout() -> None:
    for shape in ((1, 5), (5, 1), (4, 0)):
        assert not two_way_possible(np.zeros(shape))
        with pytest.raises(ValueError, match="two seeds and two prompts"):
            two_way_mean(np.zeros(shape))
    assert two_way_mean(np.full((3, 4), 2.0)).p_values(1.0)["larger"] == 0.0
