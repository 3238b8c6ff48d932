"""DCKD and ADPA (arXiv 2502.17927): distillations that hand an alignment over with its preferences.

Both learn the better response of every pair by its likelihood, and beside it

- DCKD the aligned teacher's whole distribution on the better and on the worse response, by the
  forward KL;
- ADPA, on sequences that the student drew before it began, to say what the alignment of the
  teacher made likelier: the expected advantage over every token that could come next, exactly.

The teacher's probabilities are those that it has, at temperature 1: tau is of samples. Shape
suffixes as in `losses`; half of an update's sequences are better responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from recalltrap.errors import StageError
from recalltrap.graph import Node
from recalltrap.run.worker_group import ALONE, WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data import datasets
from recalltrap_studies.llm.data.datasets import TrainingData
from recalltrap_studies.llm.data.sample_shards import map_sequences
from recalltrap_studies.llm.data.token_sequences import IGNORED
from recalltrap_studies.llm.distillation import losses
from recalltrap_studies.llm.distillation.labelled_pairs import labelled_pairs
from recalltrap_studies.llm.distillation.scorers import (
    Scorer,
    Scores,
    TeacherScores,
    features_of,
    rows_at_once,
)
from recalltrap_studies.llm.models import tokenizers
from recalltrap_studies.llm.training.student_trainer import StudentTrainer

COLLAPSE = 0.1
"""Of the entropy of the student's next token where a training began, what must be left of it."""


def prepare(
    node: Node, store: ArtifactStore, scratch: Path, group: WorkerGroup = ALONE, *, context: int
) -> TrainingData:
    """Pairs, the better responses first; beside them the worse ones, or the student's own sequences
    where a node has such. Held-out sequences are the teacher's, as in all distillations."""
    teacher, samples = node.parents["teacher"], store.open(node.parents["samples"])
    tokenizer = tokenizers.read_tokenizer(store, teacher)
    vocabulary = datasets.vocabulary_size(node, store, tokenizer)
    better, beside, flops = labelled_pairs(
        node, store, tokenizer, scratch, vocabulary, context, group
    )
    if "states" in node.parents:
        states = store.open(node.parents["states"])
        own = map_sequences(states, "train", scratch, vocabulary, group)
        count = min(len(better), len(own))
        better, beside = better.take(np.arange(count)), own.take(np.arange(count))
    heldout = map_sequences(samples, "heldout", scratch, vocabulary, group)
    entropy = datasets.teacher_entropy(samples, heldout)
    return TrainingData(better, heldout, entropy, tokenizer, beside, flops)


@dataclass(frozen=True)
class Half:
    """Half of what a worker takes of a batch: inputs, the student's logits of them; and how many
    tokens are learned of the whole batch's half, over all workers."""

    inputs: Mapping[str, Tensor]
    logits_BTV: Tensor
    count: float

    def mean(self, loss: losses.Loss) -> Tensor:
        """This worker's part of a loss's mean over the batch's learned tokens."""
        rows = rows_at_once(self.logits_BTV)
        return losses.summed_in_parts(self.logits_BTV, self.learned_BT, loss, rows) / self.count

    @property
    def learned_BT(self) -> Tensor:
        return self.inputs["labels"][:, 1:] != IGNORED

    def tokens(self, part: slice) -> Tensor:
        """What was said at the learned places of some rows, [N]."""
        return self.inputs["labels"][part, 1:][self.learned_BT[part]]


class PreferenceTrainer(StudentTrainer):
    """Learns better responses by their likelihood; a subclass says what else is learned.

    What is `measured` stands in the points of its curves, as means over the updates since the last.
    """

    numbered = True

    def __init__(self, *, group: WorkerGroup, weight: float, **given: Any) -> None:
        super().__init__(**given)
        self.group, self.weight = group, float(weight)
        self._noted: dict[str, list[float]] = {}

    def beside(self, better: Half, other: Half) -> Tensor:
        """What is minimised beside the better responses' likelihood."""
        raise NotImplementedError

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Each term the mean over its own tokens of the global batch, in nats."""
        outputs = model(**features_of(inputs), use_cache=False)
        update, size = self.state.global_step, self.batch_rows
        rows = self.schedule.order[update * size : (update + 1) * size]
        count = len(inputs["labels"]) // 2
        halves = [
            Half(
                {name: rows_BL[part] for name, rows_BL in inputs.items()},
                outputs.logits[part, :-1],
                float(learned.take(rows).learned.sum()),
            )
            for part, learned in (
                (slice(0, count), self.data.train),
                (slice(count, None), self.data.beside),
            )
            if learned is not None
        ]
        better, other = halves
        likelihood = better.mean(lambda own_NV, p: losses.nll(own_NV, better.tokens(p)).sum())
        self.note("better_nll", likelihood)
        # Gradients are averaged over the workers, and over an update's parts where nothing says
        # how many tokens they have.
        loss = (likelihood + self.beside(better, other)) * self.group.size
        if num_items_in_batch is None:
            loss = loss * self.args.gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss

    def note(self, name: str, part: Tensor) -> None:
        """Add a part of an update's measure."""
        self._noted.setdefault(name, []).append(float(part.detach()))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """A point of the curves, with what was measured since the last; every worker calls it."""
        if "loss" in logs and self._noted:
            # Every worker's parts of an update add up to its measure.
            parts = self.args.gradient_accumulation_steps
            mine = {name: parts * float(np.mean(found)) for name, found in self._noted.items()}
            everyone = self.group.gather(mine)
            logs = {**logs, **{n: sum(found[n] for found in everyone) for n in mine}}
            self._noted = {}
            self.look(logs)
        super().log(logs, start_time)

    def look(self, logs: Mapping[str, float]) -> None:
        """Whether training makes sense, by a point of its curves."""


class DckdTrainer(PreferenceTrainer):
    """SFT(y+) + w [KL(teacher || student) on y+ and on y-]."""

    measured = ("better_nll", "better_kl", "worse_kl")

    def __init__(self, *, better_teacher: Scorer, worse_teacher: Scorer, **given: Any) -> None:
        super().__init__(**given)
        self.teachers = (better_teacher, worse_teacher)

    def beside(self, better: Half, other: Half) -> Tensor:
        divergences = []
        halves = (("better_kl", better), ("worse_kl", other))
        for (name, half), teacher in zip(halves, self.teachers, strict=True):
            loss = partial(self._divergence, teacher.of(half.inputs))
            divergences.append(half.mean(loss))
            self.note(name, divergences[-1])
        return self.weight * (divergences[0] + divergences[1])

    @staticmethod
    def _divergence(theirs: Scores, own_NV: Tensor, part: slice) -> Tensor:
        return losses.forward_kl(own_NV, theirs(part, own_NV.shape[1])).sum()


class AdpaTrainer(PreferenceTrainer):
    """SFT(y+) - gamma E[A] on the student's own sequences."""

    measured = ("better_nll", "advantage", "entropy", "start_kl")

    def __init__(self, *, advantage: Scorer, start: PreTrainedModel, **given: Any) -> None:
        super().__init__(**given)
        self.advantage, self.start = advantage, TeacherScores(start)

    def beside(self, better: Half, other: Half) -> Tensor:
        # A pass of a third model: for the points of the curves alone.
        due = (self.state.global_step + 1) % int(self.args.logging_steps) == 0
        entropy, from_start = torch.zeros(()), torch.zeros(())
        advantages, began = self.advantage.of(other.inputs), self.start.of(other.inputs)

        def loss(own_NV: Tensor, part: slice) -> Tensor:
            nonlocal entropy, from_start
            width = own_NV.shape[1]
            with torch.no_grad():
                entropy = entropy + losses.entropy(own_NV).sum().cpu()
                if due:
                    start_NV = began(part, width)
                    from_start = from_start + losses.reverse_kl(own_NV, start_NV).sum().cpu()
            return losses.expected_advantage(own_NV, advantages(part, width)).sum()

        advantage = other.mean(loss)
        self.note("advantage", advantage)
        self.note("entropy", entropy / other.count)
        if due:
            self.note("start_kl", from_start / other.count)
        return -self.weight * advantage

    def look(self, logs: Mapping[str, float]) -> None:
        """Stop where the student says one thing only: the advantage rewards that without end."""
        points = [point["entropy"] for point in self.state.log_history if "entropy" in point]
        first = points[0] if points else logs["entropy"]
        if logs["entropy"] < COLLAPSE * first:
            raise StageError(
                "nan",
                f"the student's entropy fell from {first:.3f} to {logs['entropy']:.3f} nats a "
                f"token at update {self.state.global_step}: the advantage has no bound, and "
                f"settings.advantage_weight = {self.weight:g} lets it win over the likelihood: "
                "lower it, or set advantage_top_k",
            )
