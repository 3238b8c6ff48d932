"""GRPO and RLOO: groups of responses to one prompt, whose own rewards are the baseline.

Both maximise E[R] - kl_weight * KL(policy || reference), as PPO does, without a critic. The KL of
a whole response is taken off its reward, for a penalty on each token in the loss isn't that
objective's gradient: a token changes the KL of those that follow it. Rollouts, minibatches and
checkpoints are the trainer's; each response is learned from once, and minibatches after the first
of a rollout are held near the policy that drew it by the clipped ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from recalltrap_studies.llm.alignment import advantages, losses
from recalltrap_studies.llm.alignment.losses import masked_sum
from recalltrap_studies.llm.alignment.on_policy_trainer import OnPolicyTrainer
from recalltrap_studies.llm.alignment.policy import Policy, through
from recalltrap_studies.llm.alignment.registry import GroupRelative
from recalltrap_studies.llm.alignment.rollouts import Rollout


class GroupRelativeTrainer(OnPolicyTrainer):
    """Learns from each response once; every response counts alike, however long it is."""

    settings: GroupRelative

    def advantage(self, reward_CG: Tensor) -> Tensor:
        """How much better than its group each response is, [C, G]: C groups of G responses."""
        raise NotImplementedError

    def examples(self, rollout: Rollout) -> tuple[dict[str, Tensor], dict[str, float]]:
        mask_NT = rollout.mask_NT
        reward_N = advantages.penalised_rewards(
            rollout.seen_reward_N,
            rollout.log_probs_NT,
            rollout.reference_NT,
            mask_NT,
            self.settings.kl_weight,
        )
        examples = rollout.examples(
            old=rollout.log_probs_NT,
            advantage=self.advantage(reward_N.view(-1, self.settings.group_size)).flatten(),
            weight=torch.ones_like(reward_N),
        )
        return examples, {}

    def compared(self, policy: Policy, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"old": through(policy, rows)[0]}


class GrpoTrainer(GroupRelativeTrainer):
    """GRPO (Shao et al. 2024): the group's mean as baseline, a ratio for each token.

    Neither the group's deviation nor a response's length divides (Dr. GRPO, Liu et al. 2025), for
    both would change the objective. The mean holds the response itself: in expectation the
    gradient is (G - 1) / G times the objective's.
    """

    def advantage(self, reward_CG: Tensor) -> Tensor:
        return advantages.above_mean(reward_CG)

    def row_losses(self, model: Any, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        mask_BT = rows["mask"]
        log_probs_BT, _ = through(model, rows)
        surprise = (log_probs_BT, rows["old"], rows["advantage"][:, None])
        clip_range = self.settings.clip_range
        clipped_BT = losses.ppo_clipped(*surprise, clip_range).to(log_probs_BT.dtype)
        return {
            "loss": masked_sum(losses.ppo_loss(*surprise, clip_range), mask_BT),
            "clip_fraction": masked_sum(clipped_BT, mask_BT) / mask_BT.sum(dim=1),
        }


class RlooTrainer(GroupRelativeTrainer):
    """RLOO (Ahmadian et al. 2024): the others' mean as baseline, one ratio for a whole response.

    The baseline doesn't depend on the response: the expected gradient is the objective's.
    """

    def advantage(self, reward_CG: Tensor) -> Tensor:
        return advantages.above_others(reward_CG)

    def row_losses(self, model: Any, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        log_probs_BT, _ = through(model, rows)
        log_prob_B, old_B = (masked_sum(x, rows["mask"]) for x in (log_probs_BT, rows["old"]))
        surprise = (log_prob_B, old_B, rows["advantage"], self.settings.clip_range)
        return {
            "loss": losses.ppo_loss(*surprise),
            "clip_fraction": losses.ppo_clipped(*surprise).to(log_prob_B.dtype),
        }
