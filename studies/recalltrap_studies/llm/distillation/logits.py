"""Logit distillation: a student learns its teacher's whole distribution of every next token.

Forward KL to the teacher on the teacher's samples (Hinton et al. 2015, on the teacher's sequences
as in Kim & Rush 2016): the expected gradient is that of the samples' likelihood, so the optimum is
sequence distillation's, without the noise of one token drawn at each place. The teacher's
distribution is at the temperature that its samples were drawn at. Shape suffixes: B sequences,
T places, N learned places, V the student's vocabulary.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from recalltrap_studies.llm.data.token_sequences import IGNORED
from recalltrap_studies.llm.distillation.losses import forward_kl, summed_in_parts
from recalltrap_studies.llm.distillation.scorers import Scorer, features_of, rows_at_once
from recalltrap_studies.llm.training.student_trainer import StudentTrainer


class TeacherTrainer(StudentTrainer):
    """Minimises a divergence from a teacher on the rows that it is given: the forward KL."""

    numbered = True

    def __init__(self, *, teacher: Scorer, **given: Any) -> None:
        super().__init__(**given)
        self.teacher = teacher

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean divergence per learned token of the global batch, in nats."""
        outputs = model(**features_of(inputs), use_cache=False)
        logits_BTV = outputs.logits[:, :-1]
        learned_BT = inputs["labels"][:, 1:] != IGNORED
        theirs = self.teacher.of(inputs)

        def loss(own_NV: Tensor, part: slice) -> Tensor:
            return self.divergence(own_NV, theirs(part, own_NV.shape[1])).sum()

        total = summed_in_parts(logits_BTV, learned_BT, loss, rows_at_once(logits_BTV))
        result = self.mean_over_batch(total, learned_BT, num_items_in_batch)
        return (result, outputs) if return_outputs else result

    def divergence(self, own_NV: Tensor, teacher_NV: Tensor) -> Tensor:
        """What is minimised at each place [N]."""
        return forward_kl(own_NV, teacher_NV)
