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


def two_prompts(rows: int = 8) -> importance_weights.Strata:
    return importance_weights.Strata(np.arange(rows) % 2, np.array([0.25, 0.75]))


def test_means_over_prompts_are_weighted_and_their_error_is_within_prompts() -> None:
    """Prompt by prompt with numpy; the difference of the two prompts is no noise."""
    values_N = np.array([1.0, 100.0, 2.0, 101.0, 3.0, 102.0, 6.0, 97.0])
    found = importance_weights.mean(values_N, two_prompts())
    a, b = values_N[::2], values_N[1::2]
    assert found.value == pytest.approx(0.25 * a.mean() + 0.75 * b.mean())
    errors = [0.25 * a.std(ddof=1) / 2, 0.75 * b.std(ddof=1) / 2]
    assert found.standard_error == pytest.approx(math.hypot(*errors))


def test_the_error_over_prompts_is_the_spread_over_repeated_samples() -> None:
    prompts = importance_weights.Strata(np.arange(90) % 3, np.array([0.6, 0.3, 0.1]))
    centre_N = np.array([0.0, 5.0, -9.0])[prompts.index_N]
    noise = stream(4, "test/prompts").standard_normal((600, 90))
    found = [importance_weights.mean(centre_N + one, prompts) for one in noise]
    nominal = float(np.mean([one.standard_error for one in found]))
    assert nominal == pytest.approx(float(np.std([one.value for one in found])), rel=0.1)


def test_each_prompt_has_an_optimum_of_its_own() -> None:
    reward_N = stream(5, "test/prompts").uniform(0, 10, 8)
    best = importance_weights.optimum(reward_N, 2.0, two_prompts())
    singly = [importance_weights.optimum(reward_N[k::2], 2.0).mean(reward_N[k::2]) for k in (0, 1)]
    found = best.mean(reward_N)
    assert found.value == pytest.approx(0.25 * singly[0].value + 0.75 * singly[1].value)
    errors = [0.25 * singly[0].standard_error, 0.75 * singly[1].standard_error]
    assert found.standard_error == pytest.approx(math.hypot(*errors))
    assert best.weight_N.sum() == pytest.approx(1.0)


def test_one_prompt_is_no_stratum() -> None:
    values_N = stream(6, "test/prompts").uniform(0, 10, 50)
    one = importance_weights.Strata(np.zeros(50, np.int64), np.ones(1))
    for estimate in (
        importance_weights.mean, lambda v, s=None: importance_weights.hit_rate(v, 9.0, s),
        lambda v, s=None: importance_weights.optimum(v, 2.0, s).mean(v),
    ):  # fmt: skip
        plain, strata = estimate(values_N), estimate(values_N, one)
        assert strata.value == pytest.approx(plain.value)
        assert strata.standard_error == pytest.approx(plain.standard_error)
