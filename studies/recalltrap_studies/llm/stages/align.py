"""An alignment as a stage: models from the store, the training, the chosen checkpoint.

What is learned and how is the trainer's. The artifact is the language model alone, without a value
head, with its curves and facts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForCausalLM

from recalltrap.graph import Node
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap_studies.llm.alignment.alignment_trainer import AlignmentTrainer
from recalltrap_studies.llm.alignment.checkpoint_selection import select
from recalltrap_studies.llm.alignment.policy import Policy
from recalltrap_studies.llm.alignment.registry import find_algorithm
from recalltrap_studies.llm.alignment.rollouts import RolloutContext
from recalltrap_studies.llm.data import preferences, prompts, responses
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.models import devices, tokenizers, weights
from recalltrap_studies.llm.rewards.judges import read_reward
from recalltrap_studies.llm.stage_settings import Alignment
from recalltrap_studies.llm.training import checkpoints, resumable
from recalltrap_studies.llm.training.mirror import mirror_of

NOT_CURVES = frozenset({"rollout", "epoch", "step", "tokens", "seconds"})
SELECTED = ("reward", "kl", "target_nll")
"""Curves whose values at the chosen checkpoint are facts of the artifact; the last is the oracle's.
"""
FIELDS = resumable.SettingNames(learning_rate="align_learning_rate", batch_size="minibatch_size")


def run_align(node: Node, store: ArtifactStore, group: WorkerGroup) -> Iterator[Progress]:
    """Align the node's parent `start`, anchored to `reference`, and store what is chosen.

    Steps of the curves are iterations learned from; the last one was measured after the last
    update. Every worker calls it.

    Raises:
        InputError: prompt and response don't fit the context, or a minibatch the workers.
        StageError: `nan` or `oom`; finished checkpoints stay.
    """
    began = time.perf_counter()
    algorithm = find_algorithm(node.config["algorithm"])
    settings = algorithm.read(node.config)
    scratch = checkpoints.scratch_folder(store, node, group)
    mirror = mirror_of(store, node, scratch, group)
    policy, context = _models(node, store, settings, algorithm.value_head)
    trainer_class = algorithm.trainer_class()
    trainer = trainer_class(policy, context, settings, seed=node.seed, group=group, scratch=scratch)
    began_training = time.perf_counter()
    # A GPU's rounding may draw another token, and then another rollout.
    repeats = 0.05 if devices.device().type == "cpu" else None
    resumable.train(
        trainer, stage=node.stage, scratch=scratch, group=group, fields=FIELDS,
        repeat_tolerance=repeats, mirror=mirror,
    )  # fmt: skip
    trainer.finish()
    # A checkpoint holds the points before it, so an interrupted training's are here too.
    history = [point for point in trainer.state.log_history if "rollout" in point]
    spent = began_training - began + sum(point["seconds"] for point in history)
    cost = _cost(history, spent, trainer, group)
    resumable.release(trainer)
    if group.leads:
        store.put(node, _files(node, store, settings, trainer, history), cost)
        checkpoints.clear(scratch)
        if mirror is not None:
            mirror.clear()
    group.broadcast(None)
    last = {name: float(value) for name, value in history[-1].items() if name not in NOT_CURVES}
    yield Progress(node.stage, settings.iterations, settings.iterations, last)


def _models(
    node: Node, store: ArtifactStore, settings: Alignment, value_head: bool
) -> tuple[Policy, RolloutContext]:
    start, reference = node.parents["start"], node.parents["reference"]
    tokenizer = tokenizers.read_tokenizer(store, start)
    asked = prompts.asked(node.config, tokenizer)
    request = responses.request(tokenizer, asked.rows, settings.align_tokens)
    # Weights that are trained are float32, and what they are compared with is too, or equal weights
    # would differ by bfloat16's rounding: so they are read for the CPU and moved.
    lm, anchor = (
        weights.read_model(store, node, torch.device("cpu")) for node in (start, reference)
    )
    responses.check_context(lm.config, request, "align_tokens")
    rows, pairs = asked.rows, None
    if "preferences" in node.config:
        context = min(int(model.config.max_position_embeddings) for model in (lm, anchor))
        pairs = preferences.learned_from(node.config, tokenizer, context)
        rows = PromptRows.of([*rows.lists(), *pairs.prompts.lists()])
    policy = Policy(lm, rows, value_head)
    torch.nn.Module.to(anchor, devices.device())
    reward = read_reward(store, node, tokenizer)
    return policy, RolloutContext(anchor, reward, request, asked, pairs)


def _files(
    node: Node,
    store: ArtifactStore,
    settings: Alignment,
    trainer: AlignmentTrainer,
    history: Sequence[Mapping[str, Any]],
) -> dict[str, bytes]:
    """The chosen checkpoint as an artifact."""
    kept = [int(point["rollout"]) for point in history]
    # The last weights are always kept; others where a selection may choose them, as long as it may.
    candidates = sum(trainer.is_candidate(step) or step == settings.iterations for step in kept)
    kept = [step for step in kept if trainer.candidate(step).is_dir()]
    names = sorted({name for point in history for name in point} - NOT_CURVES)
    columns = {name: [point.get(name, np.nan) for point in history] for name in names}
    columns["step"] = [point["rollout"] for point in history]
    by = find_algorithm(settings.algorithm).selected_by
    assert by is not None
    chosen = select(columns, by, settings.model_selection, kept)
    model = AutoModelForCausalLM.from_pretrained(trainer.candidate(chosen), dtype="auto")
    at_chosen = next(point for point in history if point["rollout"] == chosen)
    facts: dict[str, float | int | str] = {
        "algorithm": settings.algorithm,
        "model_selection": settings.model_selection,
        "rollouts": settings.iterations,
        "updates": settings.iterations * trainer.updates_per_iteration,
        "selected_step": chosen,
        "candidates": candidates,
        **{f"selected_{name}": float(at_chosen[name]) for name in SELECTED if name in at_chosen},
        "final_reward": float(history[-1]["reward"]),
    }
    tokenizer = tokenizers.read_tokenizer(store, node.parents["start"])
    table = training_curves(history, chosen)
    return weights.model_files(model, tokenizer) | resumable.result_files(table, facts)


def training_curves(history: Sequence[Mapping[str, Any]], chosen: int) -> pa.Table:
    """One row per rollout and metric, and `selected` at the chosen step."""
    rows = [
        {"step": int(point["rollout"]), "metric": name, "value": float(value)}
        for point in history
        for name, value in point.items()
        if name not in NOT_CURVES
    ]
    rows.append({"step": chosen, "metric": "selected", "value": 1.0})
    return pa.Table.from_pylist(rows, resumable.CURVES_SCHEMA)


def _cost(
    history: Sequence[Mapping[str, Any]],
    seconds: float,
    trainer: AlignmentTrainer,
    group: WorkerGroup,
) -> Cost:
    """What all rollouts took, those before an interruption too.

    2 FLOPs per parameter and token of a forward pass, 4 of a backward one: each token is drawn,
    scored by the reference and the reward's model, and learned from.
    """
    settings = trainer.settings
    policy = sum(parameter.numel() for parameter in trainer.policy.parameters())
    others = [trainer.context.reference, trainer.context.reward_model.model]
    scored = sum(p.numel() for model in others if model is not None for p in model.parameters())
    algorithm = find_algorithm(settings.algorithm)
    examples = settings.rollout_size // algorithm.responses
    passes = trainer.updates_per_iteration * settings.minibatch_size / examples
    forward = 2.0 * (policy + scored + (policy if trainer.scored else 0))
    tokens = sum(int(point["tokens"]) for point in history)
    return Cost(
        wall_seconds=seconds,
        device_seconds=seconds * group.size,
        tokens=tokens,
        flops=tokens * (forward + (6.0 + 2.0 * algorithm.forward_passes) * policy * passes),
        device=devices.name(),
        workers=group.size,
        updates=settings.iterations * trainer.updates_per_iteration,
    )
