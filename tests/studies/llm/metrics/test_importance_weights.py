"""Importance weights against closed forms: a two-token language, and a Gaussian's tilt."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap.errors import StageError
from recalltrap.streams import stream
from recalltrap_studies.llm.metrics import importance_weights


def test_a_two_token_language_is_tilted_by_the_reward() -> None:
    """pi(a) ∝ 3/4 · e^{1/β}, pi(b) ∝ 1/4 · e^{3/β}: the sample holds each at its own rate."""
    reward_N = np.array([1.0, 1.0, 1.0, 3.0])
    best = importance_weights.optimum(reward_N, kl_weight=0.7)
    odds = math.exp(2.0 / 0.7) / 3.0
    assert best.mean((reward_N == 3.0).astype(float)).value == pytest.approx(odds / (1.0 + odds))
    assert best.mean(reward_N).value == pytest.approx((1.0 + 3.0 * odds) / (1.0 + odds))


def test_a_gaussian_reference_with_linear_reward_moves_by_one_over_beta() -> None:
    """N(0, 1) tilted by e^{y / β} is N(1/β, 1); the reward is y itself."""
    reward_N = stream(0, "test/gaussian").standard_normal(200_000)
    found = importance_weights.optimum(reward_N, 2.0).mean(reward_N)
    assert found.value == pytest.approx(0.5, abs=4.0 * found.standard_error)
    assert 1e-4 < found.standard_error < 1e-2


def test_effective_samples_of_a_gaussian_tilt() -> None:
    """E[w]²/E[w²] = e^{−1/β²} for the same tilt."""
    reward_N = stream(1, "test/gaussian").standard_normal(400_000)
    share = importance_weights.optimum(reward_N, 1.0).effective_samples / len(reward_N)
    assert share == pytest.approx(math.exp(-1.0), rel=0.05)


def test_the_standard_error_is_the_spread_over_repeated_samples() -> None:
    """Nominal against actual, over 400 repetitions of 500 responses."""
    found = [
        importance_weights.optimum(reward_N, 1.5).mean(reward_N)
        for reward_N in stream(2, "test/repeat").standard_normal((400, 500))
    ]
    nominal = float(np.mean([one.standard_error for one in found]))
    assert nominal == pytest.approx(float(np.std([one.value for one in found])), rel=0.2)


@pytest.mark.slow
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=40), st.floats(0.05, 20))
def test_the_optimum_lies_between_the_mean_and_the_best_sample(
    rewards: list[float], kl_weight: float
) -> None:
    reward_N = np.array(rewards)
    best = importance_weights.optimum(reward_N, kl_weight)
    assert reward_N.mean() - 1e-9 <= best.mean(reward_N).value <= reward_N.max() + 1e-9
    assert 1.0 - 1e-9 <= best.effective_samples <= len(reward_N) + 1e-9


def test_a_heavy_anchor_leaves_the_reference_and_its_whole_sample() -> None:
    reward_N = stream(3, "test/anchor").uniform(0, 10, 1000)
    best = importance_weights.optimum(reward_N, 1e6)
    plain = importance_weights.mean(reward_N)
    assert best.effective_samples == pytest.approx(1000.0, rel=1e-6)
    assert best.mean(reward_N).value == pytest.approx(plain.value, abs=1e-3)
    assert best.mean(reward_N).standard_error == pytest.approx(plain.standard_error, rel=1e-2)


def test_weights_do_not_overflow_at_a_small_kl_weight() -> None:
    best = importance_weights.optimum(np.array([0.0, 5.0, 10.0]), 1e-3)
    assert best.mean(np.array([0.0, 5.0, 10.0])).value == pytest.approx(10.0)
    assert best.effective_samples == pytest.approx(1.0)


def test_a_reward_that_is_nan_is_refused() -> None:
    with pytest.raises(StageError) as caught:
        importance_weights.optimum(np.array([1.0, np.nan]), 1.0)
    assert caught.value.failure == "nan"


def test_hits_begin_at_nine_tenths_of_the_supremum() -> None:
    reward_N = np.array([8.9, 9.0, 9.5, 0.0])
    assert importance_weights.hit_rate(reward_N, 10.0).value == 0.5


def test_no_hit_has_a_standard_error_all_the_same() -> None:
    found = importance_weights.hit_rate(np.zeros(98), 10.0)
    assert found.value == 0.0
    assert found.standard_error == pytest.approx(math.sqrt(0.01 * 0.99 / 98))
