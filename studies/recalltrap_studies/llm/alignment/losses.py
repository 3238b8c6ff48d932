"""The losses of PPO, GRPO, RLOO and DPO as pure functions of log-probabilities and values.

Nothing here knows a model. PPO's are per token, [B, T], and their sum over a minibatch's tokens
divided by their number is minimised; GRPO and RLOO take its surrogate, per token and per whole
response [B], and minimise a response's sum, averaged over responses; DPO's are per pair, [P].
Equation numbers are those of arXiv 2509.23667 unless another source is named.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def masked_sum(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The sum over each response's tokens [B]; padding adds 0, even where it isn't finite."""
    return torch.where(mask_BT, values_BT, 0.0).sum(dim=1)


def ppo_loss(
    log_probs_BT: Tensor, old_BT: Tensor, advantages_BT: Tensor, clip_range: float
) -> Tensor:
    """The clipped surrogate (Schulman et al. 2017, eq. 7), negated; at ratio 1 its gradient is
    that of -A log pi, the policy gradient."""
    ratio_BT = torch.exp(log_probs_BT - old_BT)
    clipped_BT = ratio_BT.clamp(1.0 - clip_range, 1.0 + clip_range)
    return -torch.minimum(ratio_BT * advantages_BT, clipped_BT * advantages_BT)


def ppo_clipped(
    log_probs_BT: Tensor, old_BT: Tensor, advantages_BT: Tensor, clip_range: float
) -> Tensor:
    """Where clipping stops the gradient [B, T] bool: the ratio has left the range in the
    direction of the advantage."""
    ratio_BT = torch.exp(log_probs_BT - old_BT)
    step_BT = torch.where(advantages_BT > 0, ratio_BT - 1.0, 1.0 - ratio_BT)
    return (step_BT > clip_range) & (advantages_BT != 0)


def value_loss(values_BT: Tensor, old_BT: Tensor, targets_BT: Tensor, clip_range: float) -> Tensor:
    """Half the squared error of the value, or of the value held within `clip_range` of the one
    before the updates where that is larger (the original PPO implementation's clipping)."""
    held_BT = old_BT + (values_BT - old_BT).clamp(-clip_range, clip_range)
    return 0.5 * torch.maximum((values_BT - targets_BT) ** 2, (held_BT - targets_BT) ** 2)


def dpo_logits(
    winner_P: Tensor,
    loser_P: Tensor,
    winner_reference_P: Tensor,
    loser_reference_P: Tensor,
    kl_weight: float,
) -> Tensor:
    """z of section 3.4, [P]: kl_weight times the winner's minus the loser's log-ratio.

    Each argument is the sum of a response's log-probabilities. It is also the margin between the
    implicit rewards of the pair.
    """
    return kl_weight * ((winner_P - winner_reference_P) - (loser_P - loser_reference_P))


def dpo_loss(logits_P: Tensor) -> Tensor:
    """-log sigma(z) (eq. 2): log 2 where the policy is the reference."""
    return softplus(-logits_P)


def dpo_gradient_weight(logits_P: Tensor) -> Tensor:
    """sigma(-z): the share of its gradient that a pair still gives: the learning trap's measure."""
    return torch.sigmoid(-logits_P)
