"""DPO: of two responses the one that the reward prefers wins, and the policy learns it.

On-policy each rollout is paired (appendix C.3 of arXiv 2509.23667, where the lower NLL under
p_target wins); offline one set of pairs of the reference serves all iterations. Both have the same
loss; minibatches, curves and checkpoints are the trainers'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from recalltrap.streams import stream
from recalltrap_studies.llm.alignment import losses
from recalltrap_studies.llm.alignment.alignment_trainer import AlignmentTrainer
from recalltrap_studies.llm.alignment.losses import masked_sum
from recalltrap_studies.llm.alignment.offline_trainer import OfflineTrainer, draw_from_reference
from recalltrap_studies.llm.alignment.on_policy_trainer import OnPolicyTrainer
from recalltrap_studies.llm.alignment.policy import Policy, as_policy, summed_log_probs
from recalltrap_studies.llm.alignment.registry import OfflineDpo, OnlineDpo
from recalltrap_studies.llm.alignment.rollouts import Rollout


def pair_order(preference_N: Tensor, flipped_P: Tensor) -> Tensor:
    """Row indices [P, 2] of winner and loser: rows 2i and 2i + 1 are a pair.

    The higher wins, the first where both are equal; a flipped label turns the pair round.
    """
    preference_P2 = preference_N.view(-1, 2)
    first_wins_P = (preference_P2[:, 0] >= preference_P2[:, 1]) != flipped_P
    first_P = 2 * torch.arange(len(preference_P2), device=preference_N.device)
    winner_P = torch.where(first_wins_P, first_P, first_P + 1)
    return torch.stack([winner_P, 2 * first_P + 1 - winner_P], dim=1)


def flipped_labels(seed: int, name: str, pairs: int, noise: float) -> Tensor:
    """Labels to turn round [P] bool; a higher noise flips the same ones and more."""
    draws: np.ndarray[Any, Any] = stream(seed, name).random(pairs)
    return torch.from_numpy(draws < noise)


class DpoTrainer(AlignmentTrainer):
    """The loss of both; every pair counts alike."""

    def compared(self, policy: Policy, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"reference": summed_log_probs(as_policy(self.context.reference, policy), rows)}

    def row_losses(self, model: Any, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            "loss": losses.dpo_loss(self.logits(summed_log_probs(model, rows), rows["reference"]))
        }

    def logits(self, policy_P2: Tensor, reference_P2: Tensor) -> Tensor:
        """z of each pair [P]: see `losses.dpo_logits`."""
        (winner_P, loser_P), (winner_ref_P, loser_ref_P) = policy_P2.T, reference_P2.T
        weight = self.settings.kl_weight
        return losses.dpo_logits(winner_P, loser_P, winner_ref_P, loser_ref_P, weight)

    def implicit_rewards(self, policy_P2: Tensor, reference_P2: Tensor) -> dict[str, Tensor]:
        """What TRL records of a batch, by our names: of each pair [P]."""
        reward_P2 = self.settings.kl_weight * (policy_P2 - reference_P2)
        logits_P = self.logits(policy_P2, reference_P2)
        return {
            "reward_margin": logits_P,
            "chosen_reward": reward_P2[:, 0],
            "rejected_reward": reward_P2[:, 1],
            "accuracy": (logits_P > 0).float(),
        }


class OnlineDpoTrainer(DpoTrainer, OnPolicyTrainer):
    """Learns from each rollout's pairs in `dpo_updates` updates."""

    settings: OnlineDpo
    scored: ClassVar[bool] = False  # the loss knows no earlier policy

    def examples(self, rollout: Rollout) -> tuple[dict[str, Tensor], dict[str, float]]:
        name = f"align/preferences/{self.iteration_index}"
        pairs, noise = len(rollout.preference_N) // 2, self.settings.preference_noise
        flipped_P = flipped_labels(self.seed, name, pairs, noise).to(self.args.device)
        pairs_P2 = pair_order(rollout.seen_preference_N, flipped_P)
        policy_P2 = masked_sum(rollout.log_probs_NT, rollout.mask_NT)[pairs_P2]
        reference_P2 = masked_sum(rollout.reference_NT, rollout.mask_NT)[pairs_P2]
        rewards = self.implicit_rewards(policy_P2, reference_P2)
        weight = losses.dpo_gradient_weight(rewards["reward_margin"])
        measured = {**rewards, "gradient_weight": weight}
        examples = {name: rows[pairs_P2] for name, rows in rollout.examples().items()}
        examples |= {"reference": reference_P2, "weight": torch.ones_like(weight)}
        return examples, {name: float(each_P.mean()) for name, each_P in measured.items()}


class OfflineDpoTrainer(DpoTrainer, OfflineTrainer):
    """Learns from `offline_pairs` pairs of the reference, or from a file's."""

    settings: OfflineDpo

    def fixed_examples(self) -> dict[str, Tensor]:
        given = self.given_pairs()
        if given is not None:
            return {**given, "weight": torch.ones(len(given["tokens"]))}
        pairs = self.settings.offline_pairs
        sample = draw_from_reference(
            self.context, 2 * pairs, self.seed, self.group, "align/pairs", self.together,
            self.settings.reward_noise,
        )  # fmt: skip
        noise = self.settings.preference_noise
        flipped_P = flipped_labels(self.seed, "align/preferences", pairs, noise)
        pairs_P2 = pair_order(sample.preference_N, flipped_P)
        return {**sample.examples(pairs_P2), "weight": torch.ones(pairs)}

    def row_losses(self, model: Any, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The rewards are the policy's while it learns: no rollout has its pairs."""
        policy_P2, reference_P2 = summed_log_probs(model, rows), rows["reference"]
        rewards = self.implicit_rewards(policy_P2, reference_P2)
        logits_P = rewards["reward_margin"]
        weight_P = losses.dpo_gradient_weight(logits_P)
        return {"loss": losses.dpo_loss(logits_P), **rewards, "gradient_weight": weight_P}
