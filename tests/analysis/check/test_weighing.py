"""Weighing samples: against optima that are sums, and what it says of its own errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap_analysis.check.weighing import weigh
from recalltrap_analysis.statistics.paired import Array

REWARD_L = np.array([0.0, 3.0, 7.0, 10.0])
SHARE_L = np.array([0.5, 0.3, 0.15, 0.05])


def exact(share_L: Array, kl_weight: float) -> tuple[float, float]:
    """Reward and KL(π* || ref) of the optimum anchored to a distribution over a few rewards."""
    tilted_L = share_L * np.exp(REWARD_L / kl_weight)
    optimum_L = tilted_L / tilted_L.sum()
    return float(optimum_L @ REWARD_L), float(optimum_L @ np.log(optimum_L / share_L))


def every_sample(count: int = 20) -> Array:
    """Samples whose frequencies are the distribution's."""
    return np.repeat(REWARD_L, np.rint(SHARE_L * count).astype(int))[None]


@pytest.mark.parametrize("kl_weight", [0.3, 1.0, 4.0, 50.0])
def test_it_is_the_exact_optimum_of_what_was_drawn(kl_weight: float) -> None:
    found = weigh(every_sample(), np.ones(1), kl_weight, best=10.0)
    reward, kl = exact(SHARE_L, kl_weight)
    assert found.reward_K[0] == pytest.approx(reward)
    assert found.kl_K[0] == pytest.approx(kl)
    assert found.mean(every_sample(), np.ones(1)) == pytest.approx(reward)


def test_its_error_and_bias_are_those_of_repeated_draws() -> None:
    generator, reward = np.random.default_rng(0), exact(SHARE_L, 2.0)[0]
    drawn = [
        weigh(generator.choice(REWARD_L, (1, 200), p=SHARE_L), np.ones(1), 2.0, 10.0)
        for _ in range(3000)
    ]
    values = np.array([one.reward_K[0] for one in drawn])
    assert np.mean([one.error_K[0] for one in drawn]) == pytest.approx(values.std(), rel=0.1)
    assert np.mean([one.bias for one in drawn]) == pytest.approx(reward - values.mean(), rel=0.2)


def test_what_was_never_drawn_could_be_worth_more_where_the_weight_is_small() -> None:
    nothing = np.zeros((1, 300))
    gains = [weigh(nothing, np.ones(1), beta, best=10.0).unseen for beta in (0.5, 2.0, 10.0)]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 9.9
    # three in 300 of reward 10 at β 10: the optimum gives them 1 - 1 / (1 + 0.01 e)
    assert gains[2] == pytest.approx(10 * (1 - 1 / (1 + 0.009986 * np.e)), rel=1e-3)
    assert weigh(nothing, np.ones(1), 0.5, best=0.0).unseen == 0.0
    more = weigh(np.zeros((1, 3000)), np.ones(1), 2.0, best=10.0).unseen
    assert more < gains[1]


@given(
    rewards=st.lists(st.floats(-5, 5), min_size=8, max_size=8),
    kl_weight=st.floats(0.05, 100),
)
def test_prompts_count_by_weight_and_each_has_its_own_optimum(
    rewards: list[float], kl_weight: float
) -> None:
    reward_KN = np.array(rewards).reshape(2, 4)
    weight_K = np.array([0.25, 0.75])
    both = weigh(reward_KN, weight_K, kl_weight, best=5.0)
    alone = [weigh(row[None], np.ones(1), kl_weight, best=5.0) for row in reward_KN]
    assert both.reward_K == pytest.approx([one.reward_K[0] for one in alone])
    assert both.mean(reward_KN, weight_K) == pytest.approx(float(weight_K @ both.reward_K))
    assert (both.kl_K >= -1e-9).all()
    assert 1.0 - 1e-9 <= both.each <= 4.0 + 1e-9
    assert both.bias >= 0
    assert both.unseen >= 0


def test_rewards_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        weigh(np.array([[1.0, np.nan]]), np.ones(1), 1.0, 1.0)
    with pytest.raises(ValueError, match="positive"):
        weigh(np.ones((1, 2)), np.ones(1), 0.0, 1.0)
