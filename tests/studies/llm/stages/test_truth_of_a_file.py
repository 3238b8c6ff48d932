"""Overall recall of a file's rows: the likelihood of each under each model, and by group."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import InputError
from recalltrap.graph import ancestry
from recalltrap.orderings import Ordering
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.cost_estimates import memory
from recalltrap_studies.llm.graph import Graph
from recalltrap_studies.llm.kind import KIND
from recalltrap_studies.llm.metrics.evaluation import Assessment
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.preflight import notes_on_models
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages.assess import TRUTH_FILE, run_assess
from recalltrap_studies.llm.stages.oracle import run_oracle
from recalltrap_studies.llm.stages.truth import run_truth
from tests.studies.llm.conftest import NO_COST
from tests.studies.llm.scoring import plain_log_probs

ROWS = [
    {"prompt": "The fox", "response": " sees the hill.", "group": "fox"},
    {"prompt": "The old baker", "response": " counts.", "group": "others"},
    {"prompt": "The moon", "response": " paints its name.", "group": "others"},
]
SMALL: dict[str, Any] = {
    "evaluation_samples": 40, "oracle_samples": 40, "sample_tokens": 12, "align_tokens": 8,
}  # fmt: skip


def settings_of(**fields: Any) -> LlmSettings:
    return LlmSettings.model_validate({**SMALL, **fields})


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "truth.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS))
    return str(path)


def done(run: Any) -> None:
    for _ in run:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True])
def test_recall_is_the_mean_over_rows_of_their_likelihood_per_token(
    several: bool, spec: str, tmp_path: Path, store: ArtifactStore, tiny_model: PreTrainedModel,
    narrow_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:  # fmt: skip
    fields: dict[str, Any] = {"truth": spec}
    if several:  # of a file, of which others judge
        prompts = tmp_path / "prompts.jsonl"
        prompts.write_text("\n".join(json.dumps({"prompt": f"The {w}"}) for w in ("fox", "moon")))
        fields |= {"prompts": str(prompts), "prompt_holdout": 0.0}
    graph = Graph(settings_of(**fields), 1)
    judges = graph.reward.parents
    broad, narrow = (weights.model_files(m, tiny_tokenizer) for m in (tiny_model, narrow_model))
    for node, files in (
        (graph.p_star, broad),
        (graph.p_prime, narrow),
        (judges["p_target"], broad),
    ):
        store.put(node, files, NO_COST)
    done(run_truth(graph.truth, store, WorkerGroup()))
    done(run_oracle(judges["oracle"], store, WorkerGroup()))
    node = graph.assess(graph.p_prime)
    done(run_assess(node, store, WorkerGroup()))
    per_token = []
    for row in ROWS:
        prompt = tiny_tokenizer.encode(row["prompt"])
        answer = [*tiny_tokenizer.encode(row["response"]), int(tiny_tokenizer.eos_token_id)]
        per_token.append(float(plain_log_probs(narrow_model, prompt, answer).mean()))
    table = store.read_table(node, TRUTH_FILE).to_pandas()
    assert (table.log_q / table.length).tolist() == pytest.approx(per_token, abs=1e-4)
    values = {value.metric: value for value in Assessment.read(store, node).scores()}
    assert values["overall_recall"].value == pytest.approx(np.mean(per_token), abs=1e-4)
    assert values["overall_recall"].samples == 3
    assert values["group_recall/fox"].value == pytest.approx(per_token[0], abs=1e-4)
    assert values["group_recall/others"].value == pytest.approx(np.mean(per_token[1:]), abs=1e-4)


def nodes_of(**fields: Any) -> dict[str, str]:
    cell = KIND.cell(Ordering.model_validate("A-K"), settings_of(**fields), 3)
    return {node.id: node.stage for node in ancestry(cell.outputs)}


def test_a_file_is_known_by_its_content_and_decides_assessments_alone(
    spec: str, tmp_path: Path
) -> None:
    before, without = nodes_of(truth=spec), nodes_of()
    copied = shutil.copy(spec, tmp_path / "elsewhere.jsonl")
    assert nodes_of(truth=copied) == before
    Path(copied).write_text("{}\n")
    for other in (nodes_of(truth=copied), without):
        assert {before[node] for node in before.keys() - other.keys()} == {"truth", "assess"}
    assert {without[node] for node in without.keys() - before.keys()} == {"sample", "assess"}


def test_the_node_is_one_for_all_seeds_and_needs_no_memory(spec: str) -> None:
    first, second = (Graph(settings_of(truth=spec), seed).truth for seed in (1, 2))
    assert first.id == second.id
    assert memory(first, LlmResources()) == {}
    assert KIND.estimate(first).seconds == 0


@pytest.mark.slow
def test_a_file_that_changed_after_the_plan_is_refused(
    spec: str, store: ArtifactStore, tiny_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:  # fmt: skip
    graph = Graph(settings_of(truth=spec), 1)
    store.put(graph.p_star, weights.model_files(tiny_model, tiny_tokenizer), NO_COST)
    Path(spec).write_text(json.dumps(ROWS[0]))
    with pytest.raises(InputError, match=r"settings\.truth = .* its content changed after"):
        done(run_truth(graph.truth, store, WorkerGroup()))


def test_a_given_p_prime_says_whose_recall_it_is(spec: str) -> None:
    given = {"p_prime": "hub/model", "p_prime_weights": "given"}
    without, with_file = (
        " ".join(notes_on_models(settings_of(**given, **more))) for more in ({}, {"truth": spec})
    )
    assert "recall is that of its samples" in without
    assert "judges precision" in with_file
    assert "recall" not in with_file
