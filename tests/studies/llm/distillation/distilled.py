"""Nodes of every distillation over the samples that the training tests learn from."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.distillation.registry import (
    DISTILLATIONS,
    run_distillation,
)
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.rewards.values import function_config
from recalltrap_studies.llm.settings import LlmSettings
from tests.studies.llm.conftest import put_model
from tests.studies.llm.training_nodes import BATCH, SAMPLES, TEACHER, UPDATES, student_node

ALIGNED = Node("align", 3, {"test": "aligned"}, {"start": TEACHER, "reference": TEACHER})
"""A model that was aligned from the teacher, as far as a node can tell."""
START = Node("distill", 3, {"test": "start"}, {"teacher": TEACHER})
"""A student that ADPA goes on from."""

HANDOVERS = ("logits", "on_policy", "dckd", "adpa")


def distill_node(
    way: str, version: int = 1, teacher: Node = TEACHER, start: bool = False, **fields: Any
) -> Node:
    """A student of 24 updates, learned in that way, from `START` on where it is to; another version
    is another artifact."""
    record, base = DISTILLATIONS[way], student_node(TEACHER)
    config = record.config(LlmSettings()) | {"batch_size": BATCH, "learning_rate": 1e-2}
    config |= {"distill_epochs": UPDATES * BATCH / SAMPLES}
    config.pop("student")
    config.pop("student_layers", None)
    parents = {**base.parents, "teacher": teacher}
    if record.after_align:
        config.pop("packing")
        config |= {**function_config("reward", "length"), "prompt": "The", "align_tokens": 16}
        parents |= {"reference": TEACHER, "pairs": parents["samples"]}
    if record.goes_on or start:
        parents |= {"start": START}
    else:
        config["architecture"] = "nano-small"
    if record.states:
        parents |= {"states": parents["samples"]}
    return replace(base, stage="distill", config={**config, **fields}, parents=parents,
                   version=version)  # fmt: skip


def distil(
    store: ArtifactStore, node: Node, resources: LlmResources | None = None
) -> dict[str, list[float]]:
    """Build a node; the values of its curves."""
    group = WorkerGroup(resources=resources or LlmResources())
    for progress in run_distillation(node, store, group):
        assert isinstance(progress, Progress)
    curves: dict[str, list[float]] = {}
    for row in store.read_table(node, "curves.parquet").to_pylist():
        curves.setdefault(row["metric"], []).append(row["value"])
    return curves


def put_handed(
    store: ArtifactStore, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Store an aligned teacher, surer than its reference, and a student to go on from."""
    aligned = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in aligned.parameters():
            parameter.mul_(1.2)
    put_model(store, ALIGNED, aligned, tokenizer)
    put_model(store, START, model, tokenizer)
