"""Best of n against brute force, closed forms and the optimum that it bounds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recalltrap_analysis.statistics.best_of_n import (
    BestOfNCurve,
    expected_maximum,
    kl_bound,
    maximum_weights,
    tried,
)

Array = npt.NDArray[np.float64]
REWARDS = arrays(
    float, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=st.floats(-5.0, 10.0)
)


@given(REWARDS)
def test_it_is_the_mean_over_all_subsets(reward_PN: Array) -> None:
    count = reward_PN.shape[1]
    found = expected_maximum(reward_PN, range(1, count + 1))
    for n, value in enumerate(found, 1):
        largest = [[max(s) for s in itertools.combinations(row, n)] for row in reward_PN]
        assert value == pytest.approx(float(np.mean(largest)), abs=1e-12)


@given(REWARDS)
def test_it_rises_with_n_from_the_mean_to_the_maximum(reward_PN: Array) -> None:
    found = expected_maximum(reward_PN, range(1, reward_PN.shape[1] + 1))
    assert found[0] == pytest.approx(reward_PN.mean(), abs=1e-12)
    assert found[-1] == pytest.approx(reward_PN.max(axis=1).mean(), abs=1e-12)
    assert (np.diff(found) >= -1e-12).all()


@pytest.mark.parametrize("count", [1, 2, 17, 4096, 50_000])
def test_weights_are_probabilities_at_any_size(count: int) -> None:
    weights_MN = maximum_weights(count, (1, max(1, count // 3), count))
    assert (weights_MN >= 0).all()
    assert weights_MN.sum(axis=1) == pytest.approx(1.0, abs=1e-9)


def test_weights_against_exact_binomials() -> None:
    count, numbers = 300, (1, 2, 7, 150, 299, 300)
    found = maximum_weights(count, numbers)
    for n, row in zip(numbers, found, strict=True):
        exact = [math.comb(i - 1, n - 1) / math.comb(count, n) for i in range(1, count + 1)]
        assert row == pytest.approx(exact, rel=1e-10, abs=1e-300)


def test_uniform_rewards_have_their_closed_form() -> None:
    """E[max of n uniforms] = n / (n+1), and the estimate is unbiased at every n."""
    uniform = np.random.default_rng(0).uniform(size=(4000, 40))
    numbers = (1, 2, 5, 20, 40)
    found = expected_maximum(uniform, numbers)
    for n, value in zip(numbers, found, strict=True):
        assert value == pytest.approx(n / (n + 1), abs=0.01)


def test_the_kl_is_that_of_the_best_of_n() -> None:
    """The best of n has density n·F^(n-1) against its reference: its KL by quadrature over F."""
    f = (np.arange(200_000) + 0.5) / 200_000
    for n in (1, 2, 3, 10, 100):
        density = n * f ** (n - 1)
        # 0 · log 0 is 0, where F^(n-1) has underflowed
        log_density = np.log(np.maximum(density, 1e-300))
        assert kl_bound(n) == pytest.approx(float((density * log_density).mean()), abs=1e-4)


@given(REWARDS, st.floats(0.01, 10.0))
def test_one_n_serves_all_prompts_and_nothing_tried_is_better(
    reward_PN: Array, kl_weight: float
) -> None:
    best = BestOfNCurve.of(reward_PN).best(kl_weight)
    every = list(range(1, reward_PN.shape[1] + 1))
    objective = expected_maximum(reward_PN, every) - kl_weight * np.array([*map(kl_bound, every)])
    assert best.objective == pytest.approx(objective.max(), abs=1e-12)
    assert best.objective == pytest.approx(objective[best.n - 1], abs=1e-12)
    assert best.reward == pytest.approx(best.objective + kl_weight * kl_bound(best.n), abs=1e-12)
    assert best.objective >= reward_PN.mean() - 1e-12


@pytest.mark.parametrize("kl_weight", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("rate", [0.5, 0.01, 0.001])
def test_the_objective_is_below_the_optimum_s(kl_weight: float, rate: float) -> None:
    """On average over samples; the optimum's is β·log E[exp(R / β)], of a reward of 10 or 0."""
    generator = np.random.default_rng(1)
    optimum = kl_weight * math.log1p(rate * math.expm1(10.0 / kl_weight))
    found = [
        BestOfNCurve.of(np.where(generator.uniform(size=(1, 2000)) < rate, 10.0, 0.0)).best(
            kl_weight
        )
        for _ in range(50)
    ]
    assert 10.0 * rate * 0.8 <= np.mean([best.objective for best in found]) <= optimum


def test_a_weak_anchor_takes_all_samples_and_a_strong_one_the_mean() -> None:
    reward_PN = np.random.default_rng(2).normal(size=(1, 500))
    curve = BestOfNCurve.of(reward_PN)
    weak, strong = curve.best(1e-9), curve.best(1e9)
    assert [weak.n, strong.n] == [500, 1]
    assert [weak.reward, strong.reward] == pytest.approx([reward_PN.max(), reward_PN.mean()])


@given(st.integers(1, 20_000))
def test_what_is_tried_reaches_all_samples_in_small_steps(count: int) -> None:
    numbers = tried(count)
    assert numbers[0] == 1
    assert numbers[-1] == count
    assert all(a < b <= max(a + 1, 1.15 * a) for a, b in itertools.pairwise(numbers))


@pytest.mark.parametrize("wrong", [np.zeros((1, 0)), np.zeros(3), np.array([[1.0, np.nan]])])
def test_what_is_no_sample_is_refused(wrong: Array) -> None:
    with pytest.raises(ValueError, match="reward"):
        expected_maximum(wrong, [1])


def test_the_best_of_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="1 <= n <= 3"):
        expected_maximum(np.zeros((1, 3)), [4])
