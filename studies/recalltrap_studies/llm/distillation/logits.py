"""Logit distillation: a student learns its teacher's whole distribution of every next token.

Forward KL to the teacher on the teacher's samples (Hinton et al. 2015, on the teacher's sequences
as in Kim & Rush 2016): the expected gradient is that of the samples' likelihood, so the optimum is
sequence distillation's, without the noise of one token drawn at each place. The teacher's
distribution is at the temperature that its samples were drawn at. Shape suffixes: B sequences,
T places, N learned places, V the student's vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from recalltrap_studies.llm.data.token_sequences import IGNORED
from recalltrap_studies.llm.distillation.losses import (
    Scores,
    forward_kl,
    log_probs_of,
    summed_in_parts,
)
from recalltrap_studies.llm.inference.batch_sizes import HELD_OUT
from recalltrap_studies.llm.training.student_trainer import StudentTrainer


class TeacherTrainer(StudentTrainer):
    """Minimises a divergence from a teacher on the rows that it is given: the forward KL."""

    def __init__(self, *, teacher: PreTrainedModel, temperature: float, **given: Any) -> None:
        super().__init__(**given)
        self.teacher, self.temperature = teacher, temperature

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean divergence per learned token of the global batch, in nats."""
        features = {k: v for k, v in inputs.items() if k != "labels"}
        outputs = model(**features, use_cache=False)
        logits_BTV = outputs.logits[:, :-1]
        learned_BT = inputs["labels"][:, 1:] != IGNORED
        theirs = scores_of(self.teacher, features)

        def loss(own_NV: Tensor, part: slice) -> Tensor:
            theirs_NW = theirs(part)[learned_BT[part]].float() / self.temperature
            return self.divergence(own_NV, log_probs_of(theirs_NW, own_NV.shape[1])).sum()

        total = summed_in_parts(logits_BTV, learned_BT, loss, rows_at_once(logits_BTV))
        result = self.mean_over_batch(total, learned_BT, num_items_in_batch)
        return (result, outputs) if return_outputs else result

    def divergence(self, own_NV: Tensor, teacher_NV: Tensor) -> Tensor:
        """What is minimised at each place [N]."""
        return forward_kl(own_NV, teacher_NV)


def scores_of(model: nn.Module, features: Mapping[str, Tensor]) -> Scores:
    """Another model's logits at the places of `features`, some rows at a time; no gradient."""

    def logits(rows: slice) -> Tensor:
        part = {name: tensor[rows] for name, tensor in features.items()}
        with torch.no_grad():
            scored: Tensor = model(**part, use_cache=False).logits[:, :-1]
        return scored

    return logits


def rows_at_once(logits_BTV: Tensor) -> int:
    """How many rows' logits are made float32 together."""
    each = logits_BTV.shape[1] * logits_BTV.shape[2]
    return HELD_OUT[logits_BTV.device.type].rows(each)
