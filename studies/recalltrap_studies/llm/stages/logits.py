"""Logit distillation: a student learns its teacher's whole distribution of every next token.

Forward KL to the teacher on the teacher's samples (Hinton et al. 2015, on the teacher's sequences
as in Kim & Rush 2016): the expected gradient is that of the samples' likelihood, so the optimum is
sequence distillation's, without the noise of one token drawn at each place. The teacher's
distribution is at the temperature that its samples were drawn at. Shape suffixes: B sequences,
T places, N learned places, V the student's vocabulary, W the teacher's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data.token_sequences import IGNORED
from recalltrap_studies.llm.inference.batch_sizes import HELD_OUT
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.stages.train import StudentTrainer, train_model

Target = Callable[[slice], Tensor]
"""The teacher's logits of some rows, at its temperature: [rows, T, W]."""


def run_logits(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Train a student on its teacher's distributions and store it; as `stages.train.run_train`.

    Every worker holds the teacher whole.
    """
    # Before a trainer is made: DeepSpeed would cut what is loaded after that into shards.
    teacher = weights.read_model(store, node.parents["teacher"])
    temperature = float(node.parents["samples"].config["temperature"])
    make = partial(LogitsTrainer, teacher=teacher, temperature=temperature)
    yield from train_model(node, store, group, make, scored_by=teacher)


class LogitsTrainer(StudentTrainer):
    """Minimises the forward KL to a teacher on the rows that it is given."""

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
        """Mean forward KL per learned token of the global batch, in nats."""
        features = {k: v for k, v in inputs.items() if k != "labels"}
        outputs = model(**features, use_cache=False)
        logits_BTV = outputs.logits[:, :-1]
        learned_BT = inputs["labels"][:, 1:] != IGNORED

        def target(rows: slice) -> Tensor:
            part = {name: tensor[rows] for name, tensor in features.items()}
            logits: Tensor = self.teacher(**part, use_cache=False).logits[:, :-1]
            return logits.float() / self.temperature

        each = logits_BTV.shape[1] * logits_BTV.shape[2]
        rows = HELD_OUT[logits_BTV.device.type].rows(each)
        total = forward_kl(logits_BTV, learned_BT, target, rows)
        loss = self.mean_over_batch(total, learned_BT, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss


def forward_kl(logits_BTV: Tensor, learned_BT: Tensor, target: Target, rows: int) -> Tensor:
    """The sum over learned places of KL(teacher || student), over the full vocabulary.

    So many rows at a time: besides the student's logits and their gradient there are never more
    than those of `rows` sequences. Of vocabularies of two widths (embeddings padded beyond the
    tokenizer) the teacher's further tokens are cut off, and the student's have no probability in
    the teacher.

    Args:
        logits_BTV: The student's, with a gradient or without.
        learned_BT: Which places count.
        target: The teacher's logits of some rows.
        rows: How many at a time.
    """
    total: Tensor = _ForwardKl.apply(logits_BTV, learned_BT, target, rows)  # type: ignore[no-untyped-call]
    return total


class _ForwardKl(torch.autograd.Function):
    """With its gradient written down on the way: softmax(student) - teacher. Autograd would keep
    three tensors of the logits' size for it, and the teacher's."""

    @staticmethod
    def forward(
        context: Any, logits_BTV: Tensor, learned_BT: Tensor, target: Target, rows: int
    ) -> Tensor:
        gradient_BTV = torch.zeros_like(logits_BTV)
        total = torch.zeros((), dtype=torch.float32, device=logits_BTV.device)
        for start in range(0, len(logits_BTV), rows):
            part = slice(start, start + rows)
            learned = learned_BT[part]
            own_NV = torch.log_softmax(logits_BTV[part][learned].float(), -1)
            teacher_NW = torch.softmax(target(part)[learned][:, : own_NV.shape[1]], -1)
            width = teacher_NW.shape[1]
            # x log x is 0 at 0, where a token's probability is too small for a float
            entropy_N = torch.special.entr(teacher_NW).sum(-1)
            total -= (entropy_N + (teacher_NW * own_NV[:, :width]).sum(-1)).sum()
            slope_NV = own_NV.exp_()
            slope_NV[:, :width] -= teacher_NW
            gradient_BTV[part][learned] = slope_NV.to(gradient_BTV.dtype)
        context.save_for_backward(gradient_BTV)
        return total

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_BTV,) = context.saved_tensors
        return gradient_BTV * upstream[0].to(gradient_BTV.dtype), None, None, None
