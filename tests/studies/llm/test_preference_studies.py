"""A study on a file of preferences: what it is known by, what is read, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import Node, ancestry
from recalltrap.orderings import Ordering
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import part_config
from recalltrap.study.named_studies import load_study
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.cost_estimates import alignment
from recalltrap_studies.llm.graph import with_preferences
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.preflight import check_sources
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages.align import run_align
from tests.studies.llm.conftest import NO_COST, NanoStore
from tests.studies.llm.training_nodes import oracle_node

ROWS = [
    {"prompt": "The fox", "chosen": " sees the hill.", "rejected": " loses the hill."},
    {"prompt": "The moon", "chosen": " sees two birds.", "rejected": " loses two birds."},
]


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS))
    return str(path)


def nodes_of(**fields: Any) -> dict[str, Node]:
    cells = (
        KIND.cell(Ordering.model_validate(name), LlmSettings(**fields), 3)
        for name in ("K-A", "A-K")
    )
    return {node.id: node for cell in cells for node in ancestry(cell.outputs)}


def stages(nodes: Any) -> set[str]:
    return {node.stage for node in nodes}


@pytest.mark.parametrize("algorithm", ["dpo_offline", "kto"])
def test_a_file_is_known_by_its_content_and_decides_alignments_alone(
    algorithm: str, spec: str, tmp_path: Path
) -> None:
    before = nodes_of(algorithm=algorithm, preferences=spec)
    copied = shutil.copy(spec, tmp_path / "elsewhere.jsonl")
    assert nodes_of(algorithm=algorithm, preferences=copied).keys() == before.keys()
    Path(copied).write_text(json.dumps(ROWS[0]))
    changed = nodes_of(algorithm=algorithm, preferences=copied)
    drawn = nodes_of(algorithm=algorithm)
    for other in (changed, drawn):
        same = stages(before[node] for node in before.keys() & other.keys())
        assert same == {"pretrain", "sample", "sft", "target", "oracle", "distill", "assess"}
        assert "align" in stages(before[node] for node in before.keys() - other.keys())


def test_without_a_file_nothing_is_known_of_one_and_with_one_nothing_of_drawn_pairs(
    spec: str,
) -> None:
    for node in nodes_of(algorithm="kto").values():
        assert not {"preferences", "preferences_unusable"} & set(node.config)
    aligned = [n for n in nodes_of(algorithm="kto", preferences=spec).values()
               if n.stage == "align"]  # fmt: skip
    assert len(aligned) == 2
    for node in aligned:
        assert not {"offline_pairs", "preference_noise"} & set(node.config)


def test_who_reads_a_file_and_what_is_read_beside_it(spec: str) -> None:
    def study(*overrides: str) -> Any:
        return load_study("llm/nano", [f"settings.{one}" for one in overrides])

    offline = ("algorithm=dpo_offline", f"preferences={spec}")
    assert study(*offline, "preferences_unusable=drop")
    with pytest.raises(InputError, match=r"preferences: ppo doesn't read preferences"):
        study(f"preferences={spec}")
    with pytest.raises(InputError, match=r"dpo_online doesn't read preferences"):
        study("algorithm=dpo_online", f"preferences={spec}")
    for name in ("offline_pairs=64", "preference_noise=0.1"):
        with pytest.raises(InputError, match=r"learned from as it stands, and nothing reads"):
            study(*offline, name)
    with pytest.raises(InputError, match=r"without a file of preferences nothing reads"):
        study("algorithm=kto", "preferences_unusable=drop")


def test_nothing_is_drawn_once_in_its_cost(spec: str) -> None:
    fields = {"algorithm": "dpo_offline", "iterations": 1}
    costs = [
        max(alignment(node).flops for node in nodes.values() if node.stage == "align")
        for nodes in (nodes_of(**fields), nodes_of(**fields, preferences=spec))
    ]
    assert costs[1] < 0.8 * costs[0]


@pytest.mark.slow
def test_what_a_plan_says_and_refuses(
    spec: str, tmp_path: Path, tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    tiny_model.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    fields: dict[str, Any] = {
        "algorithm": "dpo_offline", "preferences": spec, "p_prime": str(tmp_path / "model"),
        "p_prime_weights": "given",
    }  # fmt: skip
    (note,) = [n for n in check_sources(LlmSettings(**fields)) if "preferences" in n]
    assert note == f"settings.preferences = {spec!r}: 2 pairs to 2 prompts"
    tie = {**ROWS[0], "rejected": ROWS[0]["chosen"]}
    Path(spec).write_text("\n".join(json.dumps(row) for row in (*ROWS, tie)))
    with pytest.raises(InputError, match=r"chosen equals rejected \(row 3\)\. Mend them, or set"):
        check_sources(LlmSettings(**fields))
    (note,) = [n for n in check_sources(LlmSettings(**{**fields, "preferences_unusable": "drop"}))
               if "preferences" in n]  # fmt: skip
    assert note.endswith("2 pairs to 2 prompts; 1 row dropped: chosen equals rejected (row 3)")
    chat = {"prompt": [{"role": "user", "content": "The fox"}], "chosen": "x", "rejected": "y"}
    Path(spec).write_text(json.dumps(chat))
    with pytest.raises(InputError, match="row 1: it has messages, and the models' tokenizer has"):
        check_sources(LlmSettings(**fields))


@pytest.mark.slow
def test_the_stage_learns_from_the_file(nano_store: NanoStore, spec: str) -> None:
    settings = LlmSettings.model_validate(
        {"algorithm": "dpo_offline", "preferences": spec, "align_tokens": 12, "iterations": 8,
         "rollout_size": 8, "minibatch_size": 2, "align_learning_rate": 3e-3}
    )  # fmt: skip
    store, start = nano_store.store, nano_store.p_prime
    oracle = oracle_node(nano_store.p_star)
    store.put(
        oracle,
        {"oracle.json": json.dumps(
            {"threshold": 5.0, "height": 10.0, "sharpness": 0.5, "shaping": "fold"}).encode()},
        NO_COST,
    )  # fmt: skip
    config = with_preferences(part_config(settings, ALGORITHMS["dpo_offline"].part))
    parents = {"start": start, "reference": start, "p_target": nano_store.p_star, "oracle": oracle}
    node = Node("align", 3, config, parents)
    assert list(run_align(node, store, WorkerGroup()))
    curves = store.read_table(node, "curves.parquet").to_pandas()
    margins = curves[curves.metric == "reward_margin"].sort_values("step").value.to_numpy()
    assert margins[-1] > margins[0] + 0.2
