"""The losses of PPO and DPO against the identities that define them."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recalltrap_studies.llm.alignment import losses as ob

CLIP = 0.2


def random(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (4, 6), generator=generator, dtype=torch.float64)


OLD, ADVANTAGE, TARGET = random(0) - 2.0, random(1), random(2)


def slope(loss: Tensor, variable: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss.sum(), variable)
    return gradient


def test_ppo_at_ratio_one_has_the_policy_gradient() -> None:
    logits = random(3, 4, 6, 5).requires_grad_()
    chosen = torch.randint(5, (4, 6, 1), generator=torch.Generator().manual_seed(0))
    log_probs = logits.log_softmax(2).gather(2, chosen)[:, :, 0]
    ppo = slope(ob.ppo_loss(log_probs, log_probs.detach(), ADVANTAGE, CLIP), logits)
    log_probs = logits.log_softmax(2).gather(2, chosen)[:, :, 0]
    torch.testing.assert_close(ppo, slope(-ADVANTAGE * log_probs, logits))
    assert not ob.ppo_clipped(log_probs, log_probs, ADVANTAGE, CLIP).any()


def test_ppo_stops_outside_the_range_only_in_the_advantage_s_direction() -> None:
    good = torch.ones_like(OLD)
    for step, advantage, stops in (
        (0.5, good, True), (-0.5, -good, True), (0.5, -good, False), (-0.5, good, False)
    ):  # fmt: skip
        moved = (OLD + step).requires_grad_()
        gradient = slope(ob.ppo_loss(moved, OLD, advantage, CLIP), moved)
        assert bool((gradient == 0).all()) is stops
        assert bool(ob.ppo_clipped(moved, OLD, advantage, CLIP).all()) is stops


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), clip=st.floats(0.01, 0.9))
def test_clipped_tokens_are_those_without_gradient(seed: int, clip: float) -> None:
    moved = (OLD + 0.5 * random(seed)).requires_grad_()
    gradient = slope(ob.ppo_loss(moved, OLD, ADVANTAGE, clip), moved)
    assert torch.equal(gradient == 0, ob.ppo_clipped(moved, OLD, ADVANTAGE, clip))


def test_value_loss_within_the_range_is_half_the_squared_error() -> None:
    old, value = torch.tensor([1.0]), torch.tensor([1.1], requires_grad=True)
    loss = ob.value_loss(value, old, torch.tensor([3.0]), CLIP)
    torch.testing.assert_close(loss, torch.tensor([0.5 * 1.9**2]))
    torch.testing.assert_close(slope(loss, value), torch.tensor([-1.9]))


def test_value_loss_gives_no_credit_for_a_step_beyond_the_range() -> None:
    old, target = torch.tensor([1.0, 1.0]), torch.tensor([3.0, 3.0])
    value = torch.tensor([2.0, 0.0], requires_grad=True)
    loss = ob.value_loss(value, old, target, CLIP)
    # towards the target: as if the value were 1.2, without gradient; away from it: in full
    torch.testing.assert_close(loss, torch.tensor([0.5 * 1.8**2, 0.5 * 3.0**2]))
    torch.testing.assert_close(slope(loss, value), torch.tensor([0.0, -3.0]))


def test_dpo_s_loss_is_log_two_at_the_reference() -> None:
    winner, loser = random(4, 8), random(5, 8)
    logits = ob.dpo_logits(winner, loser, winner, loser, 0.7)
    torch.testing.assert_close(ob.dpo_loss(logits), torch.full_like(winner, math.log(2.0)))
    torch.testing.assert_close(ob.dpo_gradient_weight(logits), torch.full_like(winner, 0.5))


def test_the_gradient_weight_is_the_slope_of_the_loss() -> None:
    logits = (5 * random(6, 8)).requires_grad_()
    torch.testing.assert_close(
        slope(ob.dpo_loss(logits), logits), -ob.dpo_gradient_weight(logits.detach())
    )


def test_dpo_hardly_learns_from_a_winner_that_the_policy_has_already() -> None:
    zero = torch.zeros(1)
    far = ob.dpo_logits(zero, zero, zero - 60.0, zero, 0.7)
    assert float(ob.dpo_gradient_weight(far)) < 1e-8


def test_padding_adds_nothing_to_a_sum_nor_to_its_gradient() -> None:
    values = torch.tensor([[1.0, 2.0, float("nan")], [4.0, float("inf"), -3.0]])
    values.requires_grad_()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    total = ob.masked_sum(values, mask)
    torch.testing.assert_close(total, torch.tensor([3.0, 4.0]))
    assert torch.equal(slope(total, values), mask.float())
