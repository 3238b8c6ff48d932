"""The losses, each with its closed-form derivative by every sample's log-probability.

Pure functions of log-probabilities. A loss is the mean over a row's batch, [R]; a `*_slope` is
dloss / dlogp_n, [R, N], which `mixture.score` turns into a gradient. The tests hold each slope
against autograd. Equation numbers are those of arXiv 2509.23667. Legend: R rows, N samples; `beta`
is the `kl_weight`, [R, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def shaped_reward(reward: Tensor, logp: Tensor, logp_ref: Tensor, beta: Tensor) -> Tensor:
    """r' = R - beta log(pi / pi_ref) (section 3.1); its mean estimates eq. 1, the reverse KL
    KL(pi || pi_ref) being the penalty."""
    return reward - beta * (logp - logp_ref)


def ppo_loss(logp: Tensor, logp_old: Tensor, advantage: Tensor, clip: Tensor) -> Tensor:
    """The clipped surrogate (Schulman et al. 2017, eq. 7), negated; `clip` [R, 1]."""
    ratio = torch.exp(logp - logp_old)
    clipped = torch.clamp(ratio, 1.0 - clip, 1.0 + clip)
    return -torch.minimum(ratio * advantage, clipped * advantage).mean(1)


def ppo_clipped(logp: Tensor, logp_old: Tensor, advantage: Tensor, clip: Tensor) -> Tensor:
    """Where the ratio has left the range in the direction of the advantage: no gradient there."""
    ratio = torch.exp(logp - logp_old)
    bound = torch.where(advantage > 0, ratio - 1.0, 1.0 - ratio)
    return bound > clip


def ppo_slope(logp: Tensor, logp_old: Tensor, advantage: Tensor, clip: Tensor) -> Tensor:
    """At ratio 1 it is -advantage / N: the policy gradient."""
    ratio = torch.exp(logp - logp_old)
    live = torch.where(ppo_clipped(logp, logp_old, advantage, clip), 0.0, ratio)
    return live * advantage * (-1.0 / logp.shape[1])


def value_loss(value: Tensor, returns: Tensor) -> Tensor:
    """Half the mean squared error of the scalar baseline [R, 1] on returns [R, N]."""
    return 0.5 * ((returns - value) ** 2).mean(1)


def value_slope(value: Tensor, returns: Tensor) -> Tensor:
    """dloss / dvalue, [R, 1]."""
    return value - returns.mean(1, keepdim=True)


def grpo_advantage(reward: Tensor) -> Tensor:
    """The reward minus its batch mean (appendix A.2); no division by the deviation."""
    return reward - reward.mean(1, keepdim=True)


def kl_penalty(logp: Tensor, logp_ref: Tensor, estimator: str) -> Tensor:
    """Per-sample KL estimate [R, N] on samples of the policy.

    k2 = (log pi/ref)^2 / 2: its on-policy gradient is that of the reverse KL(pi || ref). k3 =
    ref/pi - 1 - log ref/pi: unbiased for the reverse KL in value, but its on-policy gradient is
    that of the forward KL(ref || pi).
    """
    log_ratio = logp - logp_ref
    if estimator == "k2":
        return 0.5 * log_ratio * log_ratio
    return torch.exp(-log_ratio) - 1.0 + log_ratio


def grpo_loss(
    logp: Tensor,
    logp_old: Tensor,
    advantage: Tensor,
    logp_ref: Tensor,
    beta: Tensor,
    estimator: str,
) -> Tensor:
    """Policy gradient with a KL penalty in the loss (Shao et al. 2024, eq. 3, unclipped)."""
    surrogate = torch.exp(logp - logp_old) * advantage
    return (beta * kl_penalty(logp, logp_ref, estimator) - surrogate).mean(1)


def grpo_slope(
    logp: Tensor,
    logp_old: Tensor,
    advantage: Tensor,
    logp_ref: Tensor,
    beta: Tensor,
    estimator: str,
) -> Tensor:
    """(beta dKL/dlogp - ratio * advantage) / N."""
    log_ratio = logp - logp_ref
    penalty = log_ratio if estimator == "k2" else 1.0 - torch.exp(-log_ratio)
    surrogate = torch.exp(logp - logp_old) * advantage
    return (beta * penalty - surrogate) * (1.0 / logp.shape[1])


def dpo_logit(delta: Tensor, delta_ref: Tensor, sign: Tensor, beta: Tensor) -> Tensor:
    """z of section 3.4 for pairs [R, N]: beta times winner-minus-loser log-ratios.

    `delta` = log pi(first) - log pi(second), `delta_ref` the same of the reference; `sign` is +1
    where the first of the pair won and -1 where the second did.
    """
    return beta * sign * (delta - delta_ref)


def dpo_loss(delta: Tensor, delta_ref: Tensor, sign: Tensor, beta: Tensor) -> Tensor:
    """-log sigma(z) (eq. 2)."""
    return softplus(-dpo_logit(delta, delta_ref, sign, beta)).mean(1)


def dpo_gradient_weight(delta: Tensor, delta_ref: Tensor, sign: Tensor, beta: Tensor) -> Tensor:
    """sigma(-z): how much of its gradient a pair still gives (the learning trap's measure)."""
    return torch.sigmoid(-dpo_logit(delta, delta_ref, sign, beta))


def dpo_slope(delta: Tensor, delta_ref: Tensor, sign: Tensor, beta: Tensor) -> Tensor:
    """dloss / ddelta = -beta sign sigma(-z) / N; the second sample of a pair gets the negative."""
    weight = dpo_gradient_weight(delta, delta_ref, sign, beta)
    return -beta * sign * weight * (1.0 / delta.shape[1])
