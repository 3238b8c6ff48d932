"""Nodes and samples that the training tests learn from, importable by their worker processes."""

from __future__ import annotations

from typing import Any

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import Part, part_config
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stage_settings import Reward, Sft, Target
from recalltrap_studies.llm.stages.sample import run_sample

TEACHER = Node("pretrain", 0, {"test": "teacher"})
UPDATES = 24
BATCH = 16
SAMPLES = 384


def sample_node(teacher: Node, samples: int = SAMPLES, heldout: int = 128) -> Node:
    config = {
        "samples": samples,
        "heldout_samples": heldout,
        "sample_tokens": 16,
        "prompt": "The",
        "engine": "transformers",
        "temperature": 1.0,
    }
    return Node("sample", 3, config, {"model": teacher})


def draw_samples(store: ArtifactStore, node: Node) -> None:
    for _ in run_sample(node, store, WorkerGroup()):
        pass


def student_node(teacher: Node, stage: str = "sft", seed: int = 3, **fields: Any) -> Node:
    """A student of `UPDATES` updates, with other fields where a test wants them."""
    name = {"sft": "p_prime", "target": "p_target"}[stage]
    parts: dict[str, type[Part]] = {"sft": Sft, "target": Target}
    config = part_config(LlmSettings(), parts[stage])
    config.pop(name)
    config |= {
        "architecture": "nano-small",
        "batch_size": BATCH,
        "learning_rate": 1e-2,
        f"{name.replace('p_target', 'target')}_epochs": UPDATES * BATCH / SAMPLES,
        **fields,
    }
    return Node(stage, seed, config, {"samples": sample_node(teacher), "teacher": teacher})


def oracle_node(p_target: Node) -> Node:
    settings = LlmSettings(align_tokens=12, oracle_samples=64)
    return Node("oracle", 3, part_config(settings, Reward), {"p_target": p_target})


def alignment_node(start: Node) -> Node:
    """Four updates of a model whose p_target is itself, so that the likelier response wins."""
    fields: dict[str, Any] = {
        "algorithm": "dpo_offline", "align_tokens": 12, "iterations": 2, "rollout_size": 16,
        "minibatch_size": 4, "offline_pairs": 24, "selection_interval": 1,
    }  # fmt: skip
    settings = LlmSettings(**fields)
    parents = {"start": start, "reference": start, "p_target": start}
    config = part_config(settings, ALGORITHMS["dpo_offline"].part)
    return Node("align", 3, config, {**parents, "oracle": oracle_node(start)})
