"""PPO: per-token KL shaping, GAE, clipped ratio and value, a value head on the shared trunk.

Section 3.1 and appendix C.3 of arXiv 2509.23667; what the paper leaves open follows Schulman et
al. 2017. Rollouts, minibatches and checkpoints are the trainer's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from recalltrap_studies.llm.alignment import advantages, losses
from recalltrap_studies.llm.alignment.losses import masked_sum
from recalltrap_studies.llm.alignment.on_policy_trainer import OnPolicyTrainer
from recalltrap_studies.llm.alignment.policy import Policy, through
from recalltrap_studies.llm.alignment.registry import Ppo
from recalltrap_studies.llm.alignment.rollouts import Rollout


class PpoTrainer(OnPolicyTrainer):
    """Learns from each rollout in `ppo_epochs` passes; every token counts alike."""

    settings: Ppo

    def examples(self, rollout: Rollout) -> tuple[dict[str, Tensor], dict[str, float]]:
        settings, mask_NT = self.settings, rollout.mask_NT
        rewards_NT = advantages.shaped_rewards(
            rollout.seen_reward_N - self._centre(rollout),
            rollout.log_probs_NT,
            rollout.reference_NT,
            mask_NT,
            settings.kl_weight,
        )
        advantage_NT, target_NT = advantages.gae(
            rewards_NT, rollout.values_NT, mask_NT, settings.discount, settings.gae_lambda
        )
        if settings.whiten:
            advantage_NT = advantages.whiten(advantage_NT, mask_NT)
        examples = rollout.examples(
            old=rollout.log_probs_NT,
            values=rollout.values_NT,
            advantage=advantage_NT,
            target=target_NT,
            weight=mask_NT.sum(dim=1),
        )
        return examples, {}

    def _centre(self, rollout: Rollout) -> float:
        """The mean reward of the first rollout.

        R without it has the same optimum, since every response gets R once, and a value head that
        starts at 0 is right from the start: learning R's mean through the shared trunk took the
        first 50 rollouts, with a gradient larger than the policy's.
        """
        first = (point["reward"] for point in self.state.log_history if "reward" in point)
        return float(next(first, rollout.reward_N.mean()))

    def compared(self, policy: Policy, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"old": through(policy, rows)[0]}

    def row_losses(self, model: Any, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        settings, mask_BT = self.settings, rows["mask"]
        log_probs_BT, values_BT = through(model, rows)
        surprise = (log_probs_BT, rows["old"], rows["advantage"], settings.clip_range)
        policy_B = masked_sum(losses.ppo_loss(*surprise), mask_BT)
        value_BT = losses.value_loss(
            values_BT, rows["values"], rows["target"], settings.value_clip_range
        )
        value_B = masked_sum(value_BT, mask_BT)
        return {
            "loss": policy_B + settings.value_weight * value_B,
            "value_loss": value_B,
            "clip_fraction": masked_sum(losses.ppo_clipped(*surprise).float(), mask_BT),
        }
