"""On-policy DPO: each rollout is paired, labelled by p_target and learned from.

Appendix C.3 of arXiv 2509.23667: the winner of a pair has the lower NLL under p_target. Rollouts,
minibatches and checkpoints are `onpolicy`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap.streams import stream
from recalltrap_studies.llm.alignment import losses
from recalltrap_studies.llm.alignment.losses import masked_sum
from recalltrap_studies.llm.alignment.on_policy_trainer import OnPolicyTrainer
from recalltrap_studies.llm.alignment.policy import Policy, as_policy
from recalltrap_studies.llm.alignment.registry import OnlineDpo
from recalltrap_studies.llm.alignment.rollouts import Rollout
from recalltrap_studies.llm.stages.align import run_on_policy


def pair_order(nll_N: Tensor, flipped_P: Tensor) -> Tensor:
    """Row indices [P, 2] of winner and loser: rows 2i and 2i + 1 are a pair.

    The lower NLL wins, the first where both are equal; a flipped label turns the pair round.
    """
    nll_P2 = nll_N.view(-1, 2)
    first_wins_P = (nll_P2[:, 0] <= nll_P2[:, 1]) != flipped_P
    first_P = 2 * torch.arange(len(nll_P2), device=nll_N.device)
    winner_P = torch.where(first_wins_P, first_P, first_P + 1)
    return torch.stack([winner_P, 2 * first_P + 1 - winner_P], dim=1)


def pair_log_probs(model: Any, rows: Mapping[str, Tensor]) -> Tensor:
    """Sums of the log-probabilities of winners and losers [P, 2], in one pass of a policy."""
    log_probs_BT, _ = model(rows["tokens"].flatten(0, 1))
    return masked_sum(log_probs_BT, rows["mask"].flatten(0, 1)).view(-1, 2)


class OnlineDpoTrainer(OnPolicyTrainer):
    """Learns from each rollout's pairs in `dpo_updates` updates; every pair counts alike."""

    settings: OnlineDpo
    scored: ClassVar[bool] = False  # the loss knows no earlier policy

    @classmethod
    def updates_in_rollout(cls, settings: Any) -> int:
        return int(settings.dpo_updates)

    def examples(self, rollout: Rollout) -> tuple[dict[str, Tensor], dict[str, float]]:
        pairs_P2 = pair_order(rollout.nll_N, self._flipped(len(rollout.nll_N) // 2))
        policy_P2 = masked_sum(rollout.log_probs_NT, rollout.mask_NT)[pairs_P2]
        reference_P2 = masked_sum(rollout.reference_NT, rollout.mask_NT)[pairs_P2]
        logits_P = self._logits(policy_P2, reference_P2)
        implicit_P2 = self.settings.kl_weight * (policy_P2 - reference_P2)
        measures = {
            "reward_margin": float(logits_P.mean()),
            "chosen_reward": float(implicit_P2[:, 0].mean()),
            "rejected_reward": float(implicit_P2[:, 1].mean()),
            "accuracy": float((logits_P > 0).float().mean()),
            "gradient_weight": float(losses.dpo_gradient_weight(logits_P).mean()),
        }
        examples = {
            "tokens": rollout.tokens_NT[pairs_P2],
            "mask": rollout.mask_NT[pairs_P2],
            "reference": reference_P2,
            "weight": torch.ones_like(logits_P),
        }
        return examples, measures

    def compared(self, policy: Policy, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"reference": pair_log_probs(as_policy(self.context.reference, policy), rows)}

    def row_losses(self, model: Any, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        logits_P = self._logits(pair_log_probs(model, rows), rows["reference"])
        return {"loss": losses.dpo_loss(logits_P)}

    def _logits(self, policy_P2: Tensor, reference_P2: Tensor) -> Tensor:
        (winner_P, loser_P), (winner_ref_P, loser_ref_P) = policy_P2.T, reference_P2.T
        weight = self.settings.kl_weight
        return losses.dpo_logits(winner_P, loser_P, winner_ref_P, loser_ref_P, weight)

    def _flipped(self, pairs: int) -> Tensor:
        """Labels to turn round; a higher noise flips the same ones and more."""
        draws = stream(self.seed, f"align/preferences/{self.rollout_index}").random(pairs)
        return torch.from_numpy(draws < self.settings.preference_noise).to(self.args.device)


def run_online_dpo(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Align the node's first parent by on-policy DPO; see `alignment.run_on_policy`."""
    yield from run_on_policy(node, store, group, OnlineDpo, OnlineDpoTrainer)
