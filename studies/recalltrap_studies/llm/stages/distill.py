"""Distillations as stages that learn more of a teacher than its samples: who scores, and on what.

What is learned and how is their trainers' (`distillation`); how a training runs is `train`'s. Every
worker holds the models that score whole. They are read before a trainer is made: DeepSpeed would
cut what is loaded after that into shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.contents import opened
from recalltrap_studies.llm.data.datasets import TrainingData
from recalltrap_studies.llm.data.token_sequences import Sequences
from recalltrap_studies.llm.distillation.logits import TeacherTrainer
from recalltrap_studies.llm.distillation.on_policy import OwnSamplesTrainer
from recalltrap_studies.llm.distillation.preference_distillation import (
    AdpaTrainer,
    DckdTrainer,
    prepare,
)
from recalltrap_studies.llm.distillation.scorers import (
    AdvantageScores,
    Scorer,
    TeacherScores,
    kept,
)
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.models.architectures import config_of
from recalltrap_studies.llm.stages.registry import DISTILL
from recalltrap_studies.llm.stages.train import train_model


def run_logits(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Train a student on its teacher's distributions and store it; as `stages.train.run_train`."""
    teacher = weights.read_model(store, node.parents["teacher"])
    scorer = TeacherScores(teacher, _temperature(node))

    def ready(data: TrainingData, scratch: Path, width: int) -> dict[str, Any]:
        return {"teacher": _kept(node, scorer, data.train, width, scratch, group)}

    yield from train_model(node, store, group, TeacherTrainer, [teacher], ready=ready)


def run_on_policy(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Train a student on its teacher's samples and then its own; as `run_logits`."""
    teacher = weights.read_model(store, node.parents["teacher"])
    scorer = TeacherScores(teacher, _temperature(node))
    make = partial(OwnSamplesTrainer, teacher=scorer, node=node, group=group)
    updates = int(node.config["own_samples_updates"])
    yield from train_model(node, store, group, make, [teacher], saved_every=updates)


def run_dckd(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Train a student by DCKD and store it; as `run_logits`."""
    teacher = weights.read_model(store, node.parents["teacher"])
    scorer = TeacherScores(teacher)

    def ready(data: TrainingData, scratch: Path, width: int) -> dict[str, Any]:
        assert data.beside is not None
        return {
            name: _kept(node, scorer, sequences, width, scratch, group)
            for name, sequences in (("better_teacher", data.train), ("worse_teacher", data.beside))
        }

    make = partial(DckdTrainer, group=group, weight=node.config["dckd_weight"])
    pairs = partial(prepare, context=_context(node, teacher))
    yield from train_model(node, store, group, make, [teacher], pairs, ready)


def run_adpa(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Train a student by ADPA, from where its parent `start` is, and store it; as `run_dckd`.

    Raises:
        StageError: `nan`, its entropy collapsed: the advantage has no bound.
    """
    teacher, reference, start = (
        weights.read_model(store, node.parents[name]) for name in ("teacher", "reference", "start")
    )
    held = start if node.config["advantage_reference"] == "student_init" else reference
    scorer = AdvantageScores(teacher, held, node.config.get("advantage_top_k"))

    def ready(data: TrainingData, scratch: Path, width: int) -> dict[str, Any]:
        assert data.beside is not None
        return {"advantage": _kept(node, scorer, data.beside, width, scratch, group)}

    weight = node.config["advantage_weight"]
    make = partial(AdpaTrainer, group=group, start=start, weight=weight)
    pairs = partial(prepare, context=_context(node, teacher))
    yield from train_model(node, store, group, make, [teacher, held], pairs, ready)


def _kept(
    node: Node,
    scorer: Scorer,
    sequences: Sequences,
    width: int,
    scratch: Path,
    group: WorkerGroup,
) -> Scorer:
    """The scorer, or what it says of these sequences over `width` tokens, stored."""
    epochs = float(node.config[DISTILL.epochs])
    return kept(scorer, sequences, vocabulary=width, epochs=epochs, folder=scratch, group=group)


def _temperature(node: Node) -> float:
    """That the teacher's samples were drawn at."""
    return float(node.parents["samples"].config["temperature"])


def _context(node: Node, teacher: PreTrainedModel) -> int:
    """Tokens that the teacher and its student can both read."""
    contexts = [int(teacher.config.max_position_embeddings)]
    if "architecture" in node.config:
        spec = opened(node.config["architecture"], DISTILL.architecture)
        student = config_of(spec, field=DISTILL.architecture)
        contexts.append(int(student.max_position_embeddings))
    return min(contexts)
