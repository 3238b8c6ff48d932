"""Alignments as stages: from artifacts to an artifact, and what is recorded of them."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup as Workers
from recalltrap.settings_parts import part_config
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.alignment.alignment_trainer import AlignmentTrainer
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stage_settings import Reward
from recalltrap_studies.llm.stages.align import run_align
from recalltrap_studies.llm.stages.oracle import run_oracle

pytestmark = pytest.mark.slow  # they train


SMALL: dict[str, Any] = {
    "align_tokens": 12,
    "oracle_samples": 64,
    "iterations": 4,
    "rollout_size": 8,
    "minibatch_size": 4,
    "dpo_updates": 2,
    "selection_interval": 2,
    "model_selection": "paper",
}
EACH = pytest.mark.parametrize(
    ("algorithm", "own"),
    [
        ("ppo", ("clip_fraction", "value_loss")),
        ("grpo", ("clip_fraction",)),
        ("rloo", ("clip_fraction",)),
        ("dpo_online", ("reward_margin", "gradient_weight")),
        ("dpo_offline", ("reward_margin", "accuracy")),
        ("kto", ("reward_margin", "kl_term")),
    ],
)


@pytest.fixture
def parents(nano_store: Any) -> dict[str, Node]:
    """p' starts and anchors; the better model is p_target, with its oracle."""
    config = part_config(LlmSettings(**SMALL), Reward)
    oracle = Node("oracle", 3, config, {"p_target": nano_store.p_star})
    for _ in run_oracle(oracle, nano_store.store, Workers()):
        pass
    return {
        "start": nano_store.p_prime,
        "reference": nano_store.p_prime,
        "p_target": nano_store.p_star,
        "oracle": oracle,
    }


def align(nano_store: Any, parents: Any, algorithm: str, **fields: Any) -> Node:
    settings = LlmSettings(**{**SMALL, "algorithm": algorithm, **fields})
    node = Node("align", 3, part_config(settings, ALGORITHMS[algorithm].part), parents)
    *_, last = run_align(node, nano_store.store, Workers())
    assert last.step == last.steps == settings.iterations
    return node


def curve(store: ArtifactStore, node: Node, metric: str) -> dict[int, float]:
    table: pa.Table = store.read_table(node, "curves.parquet")
    return {r["step"]: r["value"] for r in table.to_pylist() if r["metric"] == metric}


@EACH
def test_the_artifact_is_a_language_model_with_curves_and_facts(
    nano_store: Any,
    parents: Any,
    tiny_tokenizer: PreTrainedTokenizerFast,
    narrow_model: PreTrainedModel,
    algorithm: str,
    own: tuple[str, ...],
) -> None:
    node = align(nano_store, parents, algorithm)
    store: ArtifactStore = nano_store.store
    model = weights.read_model(store, node)
    names = {name for name, _ in narrow_model.named_parameters()}
    assert {name for name, _ in model.named_parameters()} == names
    before, after = (next(m.parameters()) for m in (narrow_model, model))
    assert not torch.equal(before, after)
    assert store.read(node, "tokenizer.json") == store.read(parents["start"], "tokenizer.json")
    facts = json.loads(store.read(node, "facts.json"))
    assert facts["selected_step"] in (2, 4)
    assert facts["candidates"] == 2
    assert curve(store, node, "selected") == {facts["selected_step"]: 1.0}
    measured = [0, 2, 4] if ALGORITHMS[algorithm].fixed_set else [0, 1, 2, 3, 4]  # at candidates
    for metric in ("reward", "reward_sd", "kl", "target_nll", "length"):
        assert list(curve(store, node, metric)) == measured, metric
    for metric in ("loss", *own):
        assert set(curve(store, node, metric)) >= {0, 1, 2, 3}, metric
    assert not store.storage.exists(f"scratch/{node.id}")
    cost = store.open(node).cost
    assert cost["tokens"] > 5 * 8
    assert cost["flops"] > 0
    assert cost["updates"] == facts["updates"] == 4 * (2 if algorithm != "dpo_offline" else 1)


@pytest.mark.parametrize("checkpoint_updates", [0, 4])
def test_weights_that_cannot_be_chosen_any_more_are_removed_and_change_nothing(
    nano_store: Any, parents: Any, monkeypatch: pytest.MonkeyPatch, checkpoint_updates: int
) -> None:
    """Whether checkpoints delay it or not: the artifact is that of a run that keeps them all."""
    settings = LlmSettings(**{**SMALL, "algorithm": "ppo", "iterations": 24,
                              "selection_interval": 1})  # fmt: skip
    resources = LlmResources(checkpoint_updates=checkpoint_updates)
    drop, found, most = AlignmentTrainer.drop_candidates, [], []
    for number, removing in enumerate((True, False)):
        kept: list[int] = []

        def watched(
            self: AlignmentTrainer, index: int, removing: bool = removing, kept: list[int] = kept
        ) -> None:
            if removing:
                drop(self, index)
            kept.append(len([*self.candidate(0).parent.iterdir()]))

        monkeypatch.setattr(AlignmentTrainer, "drop_candidates", watched)
        part = ALGORITHMS["ppo"].part
        node = Node("align", 3, part_config(settings, part), parents, 100 + number)
        list(run_align(node, nano_store.store, Workers(resources=resources)))
        files = [nano_store.store.read(node, name) for name in ("model.safetensors", "facts.json")]
        found.append((*files, curve(nano_store.store, node, "reward")))
        most.append(max(kept))
    assert found[0] == found[1]
    assert json.loads(found[0][1])["candidates"] == 24
    assert most[0] < most[1] == 23


def test_without_selection_the_last_weights_are_kept(nano_store: Any, parents: Any) -> None:
    node = align(nano_store, parents, "ppo", model_selection="last")
    facts = json.loads(nano_store.store.read(node, "facts.json"))
    assert facts["selected_step"] == 4
    assert facts["candidates"] == 1
    assert facts["selected_reward"] == facts["final_reward"]


def test_a_response_that_does_not_fit_the_context_is_refused(nano_store: Any, parents: Any) -> None:
    with pytest.raises(InputError, match=r"settings\.align_tokens = 100"):
        align(nano_store, parents, "ppo", align_tokens=100, sample_tokens=100)
