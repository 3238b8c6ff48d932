"""KL shaping, GAE and whitening against hand-computed cases and their definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recalltrap_studies.llm.alignment.advantages import gae, shaped_rewards, whiten

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)


def random(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape or MASK.shape, generator=generator, dtype=torch.float64)


def test_gae_of_a_hand_computed_case() -> None:
    rewards = torch.tensor([[0.0, 0.5, 2.0]])
    values = torch.tensor([[1.0, 0.5, 1.5]])
    advantages, targets = gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), 0.9, 0.5)
    # deltas: 0 + .9*.5 - 1 = -.55, .5 + .9*1.5 - .5 = 1.35, 2 - 1.5 = .5; factor .9 * .5 = .45
    expected = torch.tensor([[-0.55 + 0.45 * 1.575, 1.35 + 0.45 * 0.5, 0.5]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(targets, expected + values)


def test_gae_with_lambda_one_is_the_return_minus_the_value() -> None:
    rewards, values = random(0), random(1)
    advantages, targets = gae(rewards, values, MASK, 1.0, 1.0)
    returns = torch.where(MASK, rewards, 0.0).flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(targets[MASK], returns[MASK])
    torch.testing.assert_close(advantages[MASK], (returns - values)[MASK])


def test_gae_with_lambda_zero_is_the_one_step_error() -> None:
    rewards, values = random(0), random(1)
    advantages, _ = gae(rewards, values, MASK, 0.7, 0.0)
    torch.testing.assert_close(advantages[1, 0], rewards[1, 0] + 0.7 * values[1, 1] - values[1, 0])
    torch.testing.assert_close(advantages[1, 1], rewards[1, 1] - values[1, 1])


def test_a_response_ends_the_episode_wherever_its_padding_begins() -> None:
    rewards, values = random(0), random(1)
    long, _ = gae(rewards, values, MASK, 0.9, 0.8)
    short, _ = gae(rewards[1:2, :2], values[1:2, :2], MASK[1:2, :2], 0.9, 0.8)
    torch.testing.assert_close(long[1:2, :2], short)


def test_shaped_rewards_sum_to_the_reward_minus_the_weighted_sequence_kl() -> None:
    policy, reference, reward = random(2), random(3), random(4, 3)
    shaped = shaped_rewards(reward, policy, reference, MASK, 0.7)
    kl = torch.where(MASK, policy - reference, 0.0).sum(1)
    torch.testing.assert_close(shaped.sum(1), reward - 0.7 * kl)


def test_the_reward_stands_on_the_last_token_alone() -> None:
    policy, reward = random(2), random(4, 3)
    shaped = shaped_rewards(reward, policy, policy, MASK, 0.7)
    expected = torch.zeros_like(shaped)
    expected[0, 3], expected[1, 1], expected[2, 0] = reward
    torch.testing.assert_close(shaped, expected)


@pytest.mark.parametrize("filler", [float("nan"), float("inf"), 1e30])
def test_padding_never_enters(filler: float) -> None:
    def advantage(junk: float) -> Tensor:
        policy, reference, values = (
            torch.where(MASK, random(seed), torch.full_like(random(seed), junk))
            for seed in (2, 3, 5)
        )
        rewards = shaped_rewards(random(4, 3), policy, reference, MASK, 0.7)
        advantages, targets = gae(rewards, values, MASK, 0.9, 0.8)
        return torch.stack([whiten(advantages, MASK), torch.where(MASK, targets, 0.0)])

    assert torch.equal(advantage(filler), advantage(0.0))


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_whitening_undoes_scale_and_shift(scale: float, shift: float) -> None:
    white = whiten(random(6), MASK)
    assert float(white[MASK].mean()) == pytest.approx(0.0, abs=1e-9)
    assert float(white[MASK].std(correction=0)) == pytest.approx(1.0, abs=1e-6)
    assert (white[~MASK] == 0).all()
    torch.testing.assert_close(whiten(scale * random(6) + shift, MASK), white, atol=1e-5, rtol=0)


def test_whitening_equal_advantages_gives_zero() -> None:
    assert (whiten(torch.full(MASK.shape, 3.0), MASK) == 0).all()
