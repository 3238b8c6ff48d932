"""Every loss against its closed-form slope, and the identities that define the algorithms."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recalltrap_studies.mog.alignment import losses as ob
from recalltrap_studies.mog.program.maximum_likelihood import nll_loss, nll_slope

R, N = 3, 16


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LOGP, OLD, ADVANTAGE, REF = (random(R, N, seed=i) for i in range(4))
NEAR = OLD + 0.3 * random(R, N, seed=9)
BETA, CLIP = torch.tensor([[0.5], [1.0], [4.0]]).double(), torch.full((R, 1), 0.2).double()
SIGN = torch.where(random(R, N, seed=5) > 0, 1.0, -1.0).double()

CASES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], Tensor, tuple[object, ...]]]
CASES = {
    "nll": (nll_loss, nll_slope, LOGP, ()),
    "ppo": (ob.ppo_loss, ob.ppo_slope, NEAR, (OLD, ADVANTAGE, CLIP)),
    "grpo-k2": (ob.grpo_loss, ob.grpo_slope, NEAR, (OLD, ADVANTAGE, REF, BETA, "k2")),
    "grpo-k3": (ob.grpo_loss, ob.grpo_slope, NEAR, (OLD, ADVANTAGE, REF, BETA, "k3")),
    "dpo": (ob.dpo_loss, ob.dpo_slope, LOGP, (REF, SIGN, BETA)),
}


@pytest.mark.parametrize("name", CASES)
def test_slope_is_the_derivative_of_the_loss(name: str) -> None:
    loss, slope, logp, args = CASES[name]
    variable = logp.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(variable, *args).sum(), variable)
    torch.testing.assert_close(slope(logp, *args), expected)


def test_value_slope_is_the_derivative_of_the_value_loss() -> None:
    value = random(R, 1, seed=7).requires_grad_()
    (expected,) = torch.autograd.grad(ob.value_loss(value, LOGP).sum(), value)
    torch.testing.assert_close(ob.value_slope(value.detach(), LOGP), expected)


def test_ppo_at_ratio_one_is_the_policy_gradient() -> None:
    torch.testing.assert_close(ob.ppo_slope(OLD, OLD, ADVANTAGE, CLIP), -ADVANTAGE / N)
    assert not ob.ppo_clipped(OLD, OLD, ADVANTAGE, CLIP).any()


def test_ppo_stops_outside_the_clip_range_only_in_the_advantage_s_direction() -> None:
    up, down = OLD + 0.5, OLD - 0.5
    good = torch.ones_like(OLD)
    assert (ob.ppo_slope(up, OLD, good, CLIP) == 0).all()
    assert (ob.ppo_slope(down, OLD, -good, CLIP) == 0).all()
    assert (ob.ppo_slope(down, OLD, good, CLIP) < 0).all()
    assert (ob.ppo_slope(up, OLD, -good, CLIP) > 0).all()


def test_dpo_loss_is_log_two_at_the_reference() -> None:
    loss = ob.dpo_loss(REF, REF, SIGN, BETA)
    torch.testing.assert_close(loss, torch.full_like(loss, math.log(2.0)))
    weight = ob.dpo_gradient_weight(REF, REF, SIGN, BETA)
    torch.testing.assert_close(weight, torch.full_like(weight, 0.5))


def test_dpo_gradient_vanishes_where_the_reference_excludes_the_winner() -> None:
    far = torch.full_like(REF, -40.0)  # log pi_ref(w) - log pi_ref(l); the policy is at 0
    weight = ob.dpo_gradient_weight(torch.zeros_like(REF), far, torch.ones_like(REF), BETA)
    assert float(weight.max()) < 1e-8


@settings(max_examples=50, deadline=None)
@given(beta=st.floats(0.01, 10), shift=st.floats(-5, 5))
def test_dpo_depends_on_pairs_only_through_differences(beta: float, shift: float) -> None:
    scale = torch.tensor([[beta]]).double()
    a = ob.dpo_loss(LOGP, REF, SIGN, scale)
    torch.testing.assert_close(a, ob.dpo_loss(LOGP + shift, REF + shift, SIGN, scale))
    torch.testing.assert_close(a, ob.dpo_loss(-LOGP, -REF, -SIGN, scale))  # order of a pair


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), estimator=st.sampled_from(["k2", "k3"]))
def test_kl_estimates_are_not_negative_and_zero_at_the_reference(seed: int, estimator: str) -> None:
    logp = random(R, N, seed=seed)
    assert (ob.kl_penalty(logp, REF, estimator) >= 0).all()
    assert (ob.kl_penalty(REF, REF, estimator) == 0).all()


def kl_gradients(estimator: str) -> tuple[Tensor, Tensor, Tensor]:
    """Expected on-policy gradient of an estimator, and of reverse and forward KL, categorical."""
    logits, reference = random(5, seed=1).requires_grad_(), torch.log_softmax(random(5, seed=2), 0)
    logp = torch.log_softmax(logits, 0)
    p = logp.exp()
    penalty = ob.kl_penalty(logp[None], reference[None], estimator)[0]
    (estimate,) = torch.autograd.grad((p.detach() * penalty).sum(), logits, retain_graph=True)
    (reverse,) = torch.autograd.grad((p * (logp - reference)).sum(), logits, retain_graph=True)
    (forward,) = torch.autograd.grad((reference.exp() * (reference - logp)).sum(), logits)
    return estimate, reverse, forward


def test_k2_has_the_gradient_of_the_reverse_kl_and_k3_of_the_forward_kl() -> None:
    k2, reverse, _ = kl_gradients("k2")
    torch.testing.assert_close(k2, reverse)
    k3, _, forward = kl_gradients("k3")
    torch.testing.assert_close(k3, forward)


def test_the_batch_mean_is_grpo_s_baseline() -> None:
    assert float(ob.grpo_advantage(LOGP).mean(1).abs().max()) < 1e-12


def test_shaped_reward_has_the_expectation_of_eq_1() -> None:
    shaped = ob.shaped_reward(ADVANTAGE, LOGP, REF, BETA)
    torch.testing.assert_close(
        shaped.mean(1), ADVANTAGE.mean(1) - BETA[:, 0] * (LOGP - REF).mean(1)
    )
