"""Every stage as one record: what it is made from, what it reads, what runs it and what it takes.

Nothing else knows a stage by its name. Light to import: what runs is imported when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recalltrap.graph import Node
from recalltrap.kind import CostEstimate, Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import Part
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm import cost_estimates as costs
from recalltrap_studies.llm.distillation import registry as distillations
from recalltrap_studies.llm.stage_settings import (
    SCORER_PLACES,
    Evaluate,
    Pretrain,
    Reward,
    Sample,
    Sft,
    Target,
)
from recalltrap_studies.records import LateImport

Runner = Callable[[Node, ArtifactStore, WorkerGroup], Iterator[Progress]]


@dataclass(frozen=True)
class Stage:
    """A stage, as far as anybody must know it."""

    name: str
    run: LateImport
    """`run(node, store, group)`, called on every worker."""
    estimate: Callable[[Node], CostEstimate]
    """What a node of it takes."""
    parents: tuple[str, ...] = ()
    """What it is made from; their order is part of the identity, and their names aren't."""
    optional: tuple[str, ...] = ()
    """What it may be made from besides, after those."""
    settings: type[Part] | None = None
    """The part of the settings that it reads; an algorithm's or distillation's is its own."""
    also: tuple[str, ...] = ()
    """Settings of the study that decide what its nodes hold, beside those of its part."""
    version: int = 1
    """Bumped when its numbers change their meaning."""
    curves: bool = False
    """Whether it leaves curves of what it learned."""

    def node(
        self, seed: int, config: Mapping[str, Any], version: int | None = None, **parents: Node
    ) -> Node:
        """A node of it: at its own version, or at that of the algorithm that it runs."""
        allowed = (*self.parents, *self.optional)
        assert set(self.parents) <= set(parents) <= set(allowed), f"{self.name}: of {allowed}"
        made_from = {name: parents[name] for name in allowed if name in parents}
        return Node(self.name, seed, config, made_from, version or self.version)

    def runner(self) -> Runner:
        """What executes a node of it; imports it."""
        runner: Runner = self.run.load()
        return runner


@dataclass(frozen=True)
class Training(Stage):
    """A stage that trains a causal language model of an architecture for some epochs."""

    architecture: str = ""
    """The setting that names it."""
    epochs: str = ""
    """The setting that says how many."""
    curves: bool = True


_STAGES = "recalltrap_studies.llm.stages"
_TRAIN = LateImport(f"{_STAGES}.train:run_train")

PRETRAIN: Training = Training(
    "pretrain",
    _TRAIN,
    lambda node: costs.training(node, PRETRAIN.epochs),
    settings=Pretrain,
    architecture="p_star",
    epochs="p_star_epochs",
)
LOAD = Stage(
    "load",
    LateImport(f"{_STAGES}.load:run_load"),
    costs.loading,
    # What comes from outside begins a text as its tokenizer does (BOS), and its students are
    # initialised by their family's rules.
    version=2,
)
SAMPLE = Stage(
    "sample",
    LateImport(f"{_STAGES}.sample:run_sample"),
    costs.sampling,
    ("model",),
    settings=Sample,
    also=("engine",),
)
TRUTH = Stage(
    "truth",
    LateImport(f"{_STAGES}.truth:run_truth"),
    costs.loading,
    ("model",),  # for its tokenizer
)
SFT: Training = Training(
    "sft",
    _TRAIN,
    lambda node: costs.training(node, SFT.epochs),
    ("samples", "teacher"),
    settings=Sft,
    architecture="p_prime",
    epochs="p_prime_epochs",
)
TARGET: Training = Training(
    "target",
    _TRAIN,
    lambda node: costs.training(node, TARGET.epochs),
    ("samples", "teacher"),
    settings=Target,
    also=("target_temperature",),
    architecture="p_target",
    epochs="target_epochs",
)
ORACLE = Stage(
    "oracle",
    LateImport(f"{_STAGES}.oracle:run_oracle"),
    costs.threshold,
    ("p_target",),
    settings=Reward,
)
DISTILL: Training = Training(
    distillations.STAGE,
    LateImport("recalltrap_studies.llm.distillation.registry:run_distillation"),
    lambda node: costs.training(node, DISTILL.epochs),
    ("samples", "teacher"),
    # What it begins with; what an alignment began with, responses that are labelled by a reward,
    # and the student's own.
    optional=("start", "reference", "pairs", "states", "p_target", "oracle", "reward"),
    also=("distill_temperature", distillations.SETTING),
    architecture="student",
    epochs="distill_epochs",
)
ALIGN = Stage(
    "align",
    LateImport(f"{_STAGES}.align:run_align"),
    costs.alignment,
    ("start", "reference"),
    optional=("p_target", "oracle", "reward"),
    curves=True,
)
ASSESS = Stage(
    "assess",
    LateImport(f"{_STAGES}.assess:run_assess"),
    costs.assessment,
    ("model", "truth", "p_star"),
    optional=("p_target", "oracle", "reward", *SCORER_PLACES),
    settings=Evaluate,
)
STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (PRETRAIN, LOAD, SAMPLE, TRUTH, SFT, TARGET, ORACLE, DISTILL, ALIGN, ASSESS)
}


def training_of(node: Node) -> Training:
    """The record of the training that a node is."""
    stage = STAGES[node.stage]
    assert isinstance(stage, Training), f"{node.stage} trains no model"
    return stage
