"""Studies whose reward isn't the oracle's: alignments that follow it, and what is measured then."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.settings_parts import part_config
from recalltrap.store.contents import Content
from recalltrap_analysis.language.reference_rewards import reference_responses
from recalltrap_studies.llm.alignment.registry import ALGORITHMS
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.graph import Graph
from recalltrap_studies.llm.metrics import importance_weights
from recalltrap_studies.llm.metrics.evaluation import Assessment
from recalltrap_studies.llm.metrics.importance_weights import Strata
from recalltrap_studies.llm.rewards import functions
from recalltrap_studies.llm.rewards.judges import read_reward
from recalltrap_studies.llm.rewards.length import length
from recalltrap_studies.llm.rewards.oracle import Oracle
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages.align import run_align
from recalltrap_studies.llm.stages.assess import OWN_FILE, TARGET_FILE, run_assess
from recalltrap_studies.llm.stages.load import run_load
from recalltrap_studies.llm.stages.sample import run_sample
from tests.studies.llm.rewards.test_classifier import folder_of

SMALL: dict[str, Any] = {
    "iterations": 2, "rollout_size": 16, "minibatch_size": 8, "group_size": 4, "dpo_updates": 2,
    "offline_pairs": 16, "align_tokens": 8, "sample_tokens": 12, "evaluation_samples": 60,
}  # fmt: skip


def finished(run: Any) -> None:
    for _ in run:
        pass


@pytest.mark.slow
def test_every_algorithm_follows_whatever_reward_it_is(
    nano_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preferred are the longer responses, by text alone."""
    seen: list[str] = []

    def spy(prompts: list[str], responses: list[str]) -> list[float]:
        assert set(prompts) == {"The"}
        seen.extend(responses)
        return length(prompts, responses)

    monkeypatch.setattr("recalltrap_studies.llm.rewards.judges.find_function", lambda name: spy)
    models = {"start": nano_store.p_prime, "reference": nano_store.p_prime}
    for algorithm, record in ALGORITHMS.items():
        settings = LlmSettings(**SMALL, algorithm=algorithm)
        config = {**part_config(settings, record.part), "reward": "length"}
        node = Node("align", 3, config, models)
        seen.clear()
        finished(run_align(node, nano_store.store, WorkerGroup()))
        table: pa.Table = nano_store.store.read_table(node, "curves.parquet")
        rows = [row for row in table.to_pylist() if row["metric"] == "reward"]
        first = seen[32:48] if record.fixed_set else seen[:16]
        assert rows[0]["value"] == pytest.approx(np.mean(length([""] * 16, first))), algorithm
        assert "target_nll" not in set(table["metric"].to_pylist())
        facts = json.loads(nano_store.store.read(node, "facts.json"))
        assert "selected_target_nll" not in facts
        assert facts["final_reward"] == rows[-1]["value"]


@pytest.fixture
def built(nano_store: Any, tmp_path: Path, tiny_tokenizer: Any) -> tuple[Any, Node]:
    """p' assessed: judged by its length, by sentiment, and by a classifier."""
    judge = folder_of(tmp_path / "judge", tiny_tokenizer, ["bad", "good"])
    settings = LlmSettings(
        **SMALL, reward="length", scorers=["sentiment", judge + "#good"], store_texts="all"
    )
    graph = Graph(settings, 3)
    graph.p_star, graph.p_prime = nano_store.p_star, nano_store.p_prime
    graph.truth = replace(graph.truth, parents={"model": nano_store.p_star})
    node = graph.assess(nano_store.p_prime)
    finished(run_load(node.parents["scorer_2"], nano_store.store, WorkerGroup()))
    finished(run_sample(graph.truth, nano_store.store, WorkerGroup()))
    finished(run_assess(node, nano_store.store, WorkerGroup()))
    return nano_store.store, node


def test_an_assessment_measures_the_reward_its_spread_and_each_scorer(
    built: tuple[Any, Node],
) -> None:
    store, node = built
    own = store.read_table(node, OWN_FILE).to_pandas()
    texts = store.read_table(node, "texts.parquet").to_pandas()["text"]
    assert TARGET_FILE not in store.open(node).names
    assert not {"log_p_target", "nll"} & set(own.columns)
    whole = own["length"] <= SMALL["align_tokens"]  # of the others the reward sees the beginning
    words = np.array(length([""] * len(texts), list(texts)))
    assert (own["reward"][whole] == words[whole]).all()
    assert (own["reward"] <= words).all()
    assert whole.any()
    assert not whole.all()
    read = Assessment.read(store, node)
    values = {(v.metric, v.scorer): v for v in [*read.scores(), *read.anchor(0.7)]}
    assert values["reward", "length"].value == own["reward"].mean()
    spread = values["reward_sd", "length"]
    assert spread.value == pytest.approx(own["reward"].std(ddof=1))
    assert 0 < spread.standard_error < spread.value
    for place, name in (("scorer_1", "sentiment"), ("scorer_2", "judge#good")):
        assert values["score", name].value == pytest.approx(own[place].mean())
        assert values["score_sd", name].value == pytest.approx(own[place].std(ddof=1))
    cell = SimpleNamespace(assessments={"p_prime": node}, seed=3)
    read_back = reference_responses(cell, "p_prime", store)  # type: ignore[arg-type]
    for score_KN, place in zip(read_back.scores, ("scorer_1", "scorer_2"), strict=True):
        assert score_KN[0].tolist() == own[place].tolist()
    metrics = {metric for metric, _ in values}
    assert not [m for m in metrics if "target" in m or m in ("hit_rate", "reward_supremum")]
    assert {"optimum_reward", "optimum_ess", "overall_recall", "overall_precision"} <= metrics


def test_a_declared_supremum_is_a_metric_of_references(nano_store: Any) -> None:
    graph = Graph(LlmSettings(**SMALL, reward="sentiment"), 3)
    graph.p_star = nano_store.p_star
    graph.truth = replace(graph.truth, parents={"model": nano_store.p_star})
    node = graph.assess(nano_store.p_prime)
    finished(run_sample(graph.truth, nano_store.store, WorkerGroup()))
    finished(run_assess(node, nano_store.store, WorkerGroup()))
    found = {v.metric: v for v in Assessment.read(nano_store.store, node).anchor(0.7)}
    assert found["reward_supremum"].value == 1.0
    assert found["reward_supremum"].scorer == "sentiment"
    assert found["optimum_reward"].scorer == "importance"


def test_a_function_that_changed_after_planning_is_refused(
    nano_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = Content("1" * 64, "mine", str(tmp_path / "mine.py"), functions.SOURCE)
    now = Content("2" * 64, "mine", str(tmp_path / "mine.py"), functions.SOURCE)
    judges = "recalltrap_studies.llm.rewards.judges"
    monkeypatch.setattr(f"{judges}.find_function", lambda name: length)
    monkeypatch.setattr(f"{judges}.source_of", lambda name: now)
    node = Node("align", 0, {"reward": "mine", "reward_source": planned})
    with pytest.raises(InputError, match="'mine' is another here than when the study was planned"):
        read_reward(nano_store.store, node, None)  # type: ignore[arg-type]
    kept = Node("align", 0, {"reward": "mine", "reward_source": now})
    assert read_reward(nano_store.store, kept, None).name == "mine"  # type: ignore[arg-type]


def test_the_spread_counts_prompts_by_their_weight() -> None:
    """Of one stratum the sample's; of several that of drawing a prompt, and then a response."""
    random = np.random.default_rng(0)
    values_N = random.normal(size=4000) * 3 + 1
    one = importance_weights.deviation(values_N)
    assert one.value == pytest.approx(values_N.std(ddof=1))
    alike = Strata(np.arange(4000) % 4, np.full(4, 0.25))
    assert importance_weights.deviation(values_N, alike).value == pytest.approx(one.value)
    index_N = np.arange(4000) % 2
    two_N = np.where(index_N == 0, values_N, values_N + 10)
    weighed = importance_weights.deviation(two_N, Strata(index_N, np.array([0.9, 0.1]))).value
    assert weighed == pytest.approx(np.sqrt(9 + 0.9 * 0.1 * 100), rel=0.03)
    draws = [importance_weights.deviation(random.normal(size=400) * 3).value for _ in range(400)]
    typical = importance_weights.deviation(values_N[:400]).standard_error
    assert np.std(draws) == pytest.approx(typical, rel=0.25)
    assert importance_weights.deviation(np.ones(5)) == importance_weights.MeanWithError(0.0, 0.0)


def test_judgements_keep_the_oracle_s_order_where_it_folds(tiny_model: Any) -> None:
    """A pair's winner has the lower NLL, and not the higher folded reward."""
    oracle = Oracle(tiny_model, 0.01, 10.0, 0.5, "fold")  # all are beyond the threshold
    tokens_BT = torch.tensor([[5, 6], [7, 8], [9, 5]])
    judged = oracle.judge(tokens_BT, torch.ones_like(tokens_BT).bool(), PromptRows.same([4]))
    assert torch.equal(judged.preference_B, -judged.measured["target_nll"])
    assert torch.equal(judged.preference_B.argsort(), judged.reward_B.argsort(descending=True))
