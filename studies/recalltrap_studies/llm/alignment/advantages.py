"""From rewards of responses to advantages: of tokens by GAE, of whole responses by their group.

Pure functions of padded tensors. Legend: B responses, T tokens, C groups of G responses; `mask_BT`
is true up to and including a response's last token, and what lies behind it never enters. A
response ends the episode whether it ended with EOS or was cut.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8


def shaped_rewards(
    reward_B: Tensor,
    log_probs_BT: Tensor,
    reference_BT: Tensor,
    mask_BT: Tensor,
    kl_weight: float,
) -> Tensor:
    """Per-token rewards [B, T] of arXiv 2509.23667, section 3.1.

    r_t = -kl_weight (log pi_old - log pi_ref), and R beside it on the last token; the log-ratios
    of a response sum to its estimate of the reverse KL(pi_old || pi_ref).
    """
    penalty_BT = kl_weight * (log_probs_BT - reference_BT)
    shaped_BT = torch.where(mask_BT, -penalty_BT, 0.0)
    last_B1 = mask_BT.sum(dim=1, keepdim=True) - 1
    return shaped_BT.scatter_add(1, last_B1, reward_B[:, None].to(shaped_BT.dtype))


def gae(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, discount: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and the values' targets, both [B, T].

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lambda A_{t+1} (Schulman et al.
    2016, eqs. 11 and 16), with V = 0 behind the last token; targets are A + V.
    """
    values_BT = torch.where(mask_BT, values_BT, 0.0)
    rewards_BT = torch.where(mask_BT, rewards_BT, 0.0)
    advantages_BT = torch.zeros_like(values_BT)
    next_value_B = next_advantage_B = torch.zeros_like(values_BT[:, 0])
    for t in reversed(range(values_BT.shape[1])):
        delta_B = rewards_BT[:, t] + discount * next_value_B - values_BT[:, t]
        next_advantage_B = delta_B + discount * gae_lambda * next_advantage_B
        advantages_BT[:, t] = next_advantage_B
        next_value_B = values_BT[:, t]
    advantages_BT = torch.where(mask_BT, advantages_BT, 0.0)
    return advantages_BT, advantages_BT + values_BT


def whiten(advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Centred and scaled to unit deviation over all tokens; equal ones become 0."""
    kept = advantages_BT[mask_BT]
    scaled_BT = (advantages_BT - kept.mean()) / (kept.std(correction=0) + EPSILON)
    return torch.where(mask_BT, scaled_BT, 0.0)


def penalised_rewards(
    reward_B: Tensor,
    log_probs_BT: Tensor,
    reference_BT: Tensor,
    mask_BT: Tensor,
    kl_weight: float,
) -> Tensor:
    """R(y) - kl_weight log(pi_old(y) / pi_ref(y)) of whole responses, [B].

    Its mean over pi_old is the objective of eq. 1 of arXiv 2509.23667, E[R] - kl_weight
    KL(pi_old || pi_ref), and its product with the score function that objective's gradient.
    """
    ratio_B = torch.where(mask_BT, log_probs_BT - reference_BT, 0.0).sum(dim=1)
    return reward_B - kl_weight * ratio_B


def above_mean(reward_CG: Tensor) -> Tensor:
    """Minus the mean of the group, the response itself among it (GRPO)."""
    return reward_CG - reward_CG.mean(dim=1, keepdim=True)


def above_others(reward_CG: Tensor) -> Tensor:
    """Minus the mean of the group's other responses (RLOO)."""
    size = reward_CG.shape[1]
    return above_mean(reward_CG) * (size / (size - 1))
