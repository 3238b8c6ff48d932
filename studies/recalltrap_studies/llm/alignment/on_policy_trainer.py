"""Alignments that learn from what the policy says now: each iteration draws a rollout first."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recalltrap.streams import stream
from recalltrap_studies.llm.alignment.alignment_trainer import AlignmentTrainer, Iteration
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.rollouts import Rollout


class OnPolicyTrainer(AlignmentTrainer):
    """Rolls out, and learns from what it drew."""

    scored: ClassVar[bool] = True  # their ratio is to the policy that drew the rollout

    def examples(self, rollout: Rollout) -> tuple[dict[str, Tensor], dict[str, float]]:
        """What minibatches are cut from (see `Iteration`), and further measures of the rollout."""
        raise NotImplementedError

    def iteration(self, policy: Policy, index: int) -> Iteration:
        rollout = self.draw(policy, index)
        examples, more = self.examples(rollout)
        tokens = int(rollout.mask_NT.sum())
        order = self._shuffled(index, len(examples["weight"]))
        return Iteration(examples, order, {**rollout.measures(), **more}, tokens)

    def _shuffled(self, index: int, rows: int) -> Tensor:
        """The order in which a rollout's rows are learned from: one pass after the other."""
        random = stream(self.seed, f"align/minibatches/{index}")
        passes = math.ceil(self.updates_per_iteration * self.settings.minibatch_size / rows)
        order = np.concatenate([random.permutation(rows) for _ in range(passes)])
        return torch.from_numpy(order).to(self.args.device)
