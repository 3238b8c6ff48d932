"""What the trainers of all alignments share: the weights that a selection may choose from.

Candidates are folders in the hub's format beside a stage's checkpoints; which one an alignment ends
with is `selection`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import Trainer
from trl.models.utils import unwrap_model_for_generation

from recalltrap.run.worker_group import WorkerGroup
from recalltrap_studies.llm.alignment.policy import Policy


class CandidateTrainer(Trainer):
    """A trainer that can look at its whole policy, and keep it, between two rollouts."""

    policy: Policy
    settings: Any
    group: WorkerGroup
    scratch: Path
    scored: ClassVar[bool] = False
    """Whether a rollout's log-probabilities are computed anew: see `rollouts.roll_out`."""

    def candidate(self, index: int) -> Path:
        """The folder of the weights after `index` rollouts, in the hub's format."""
        return self.scratch / "candidates" / str(index)

    def is_candidate(self, index: int) -> bool:
        """Whether the weights after `index` rollouts may be chosen; the last always are."""
        chosen = self.settings.model_selection != "last"
        return bool(chosen and index and not index % self.settings.selection_interval)

    def keep(self, lm: Any, index: int) -> None:
        """Keep a language model's whole weights; every worker calls it."""
        if self.group.leads:
            with self.policy.own_configuration():
                lm.save_pretrained(self.candidate(index))

    @contextmanager
    def whole_policy(self) -> Iterator[Any]:
        """The bare model in eval mode, its weights gathered once (ZeRO-3), without gradients."""
        wrapped = self.model_wrapped
        with torch.no_grad(), unwrap_model_for_generation(wrapped, self.accelerator) as policy:
            training = policy.training
            policy.eval()
            yield policy
            policy.train(training)
