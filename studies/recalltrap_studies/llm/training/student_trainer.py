"""What trains a causal language model on given rows in a given order, by their likelihood.

Distillations that learn more of a teacher than its samples are subclasses, in `distillation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recalltrap_studies.llm.data.datasets import TrainingData
from recalltrap_studies.llm.data.token_sequences import IGNORED, Order
from recalltrap_studies.llm.training import upstream

OWN_TOKENS = "own_tokens"
"""What a point of the log calls tokens that the student drew to learn from."""


@dataclass(frozen=True)
class TrainingSchedule:
    """How long a training takes, and in which order it meets its rows."""

    updates: int
    warmup: int
    decay: int
    epochs: float
    order: Order  # [updates * batch]
    tokens: int

    @property
    def facts(self) -> dict[str, float | int]:
        return {"updates": self.updates, "epochs": self.epochs, "tokens": self.tokens}


class StudentTrainer(upstream.OrderedSftTrainer):
    """TRL's trainer in a given order, without the metrics that cost a small model half its time."""

    chunked: bool
    """Whether the loss goes by TRL's chunks of the vocabulary."""
    data: TrainingData
    schedule: TrainingSchedule
    batch_rows: int
    """Rows of an update, over all workers."""
    pad: int
    width: int | None
    """Tokens of a packed row; None pads instead."""
    numbered: bool = False
    """Whether its batches say which learned tokens they have: see `token_sequences.PLACES`."""
    measured: tuple[str, ...] = ()
    """What its points hold beside what every training's do."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean negative log-likelihood per learned token of the global batch, as TRL's."""
        if return_outputs or self.chunked:
            chunked: Any = super().compute_loss  # untyped
            return chunked(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        features = {k: v for k, v in inputs.items() if k != "labels"}
        logits = model(**features, use_cache=False).logits[:, :-1].float()
        total = nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return self.mean_over_batch(total, labels != IGNORED, num_items_in_batch)

    def mean_over_batch(
        self, total: Tensor, learned_BT: Tensor, num_items_in_batch: Tensor | int | None
    ) -> Tensor:
        """A sum over this worker's learned tokens as the mean over the global batch's."""
        count = learned_BT.sum() if num_items_in_batch is None else num_items_in_batch
        loss = total / torch.as_tensor(count).clamp(min=1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over workers
        return loss
