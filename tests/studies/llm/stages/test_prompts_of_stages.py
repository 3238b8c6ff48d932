"""A file of prompts through the stages: who asks which, what is learned, and what is judged."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.graph import Cell
from recalltrap.orderings import Ordering
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.data.prompts import PromptSet, asked
from recalltrap_studies.llm.data.sample_shards import map_sequences, read_shards
from recalltrap_studies.llm.data.token_sequences import IGNORED
from recalltrap_studies.llm.graph import Graph
from recalltrap_studies.llm.metrics.evaluation import evaluate
from recalltrap_studies.llm.metrics.responses import response_rows
from recalltrap_studies.llm.models import weights
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages import assess
from recalltrap_studies.llm.stages.assess import run_assess
from recalltrap_studies.llm.stages.oracle import run_oracle
from recalltrap_studies.llm.stages.sample import run_sample
from tests.studies.llm.conftest import NO_COST
from tests.studies.llm.scoring import plain_log_probs

pytestmark = pytest.mark.slow

WORDS = (
    "fox",
    "old baker",
    "river",
    "train",
    "small child",
    "moon",
    "fox sees",
    "old baker paints",
)
WEIGHTS = (1, 2, 3, 1, 1, 4, 1, 2)
SAMPLES = 60


def done(run: Any) -> None:
    for _ in run:
        pass


class BuiltCell:
    """All of K-A but the trainings, with models of the tests in their places."""

    def __init__(self, store: ArtifactStore, settings: LlmSettings) -> None:
        self.store, self.graph = store, Graph(settings, 1)
        ordering = Ordering.model_validate("K-A")
        made = self.graph.models(ordering)
        judges = {name: self.graph.assess(node) for name, node in made.items()}
        self.cell = Cell("llm", ordering, 1, settings, made, 1, judges)


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: PreTrainedModel,
    narrow_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> BuiltCell:
    folder = tmp_path_factory.mktemp("prompts")
    rows = [{"prompt": f"The {word}", "id": word, "weight": weight}
            for word, weight in zip(WORDS, WEIGHTS, strict=True)]  # fmt: skip
    (folder / "prompts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    settings = LlmSettings(
        prompts=str(folder / "prompts.jsonl"), prompt_holdout=0.4, evaluation_samples=SAMPLES,
        oracle_samples=80, training_samples=300, heldout_samples=40, sample_tokens=9,
        align_tokens=6, kl_weight=0.5,
    )  # fmt: skip
    store = ArtifactStore(Storage(str(folder / "store")))
    found = BuiltCell(store, settings)
    broad = weights.model_files(tiny_model, tiny_tokenizer)
    narrow = weights.model_files(narrow_model, tiny_tokenizer)
    learned = {"facts.json": json.dumps({"selected_step": 1}).encode()}
    curve = pa.table({"step": [1], "metric": ["loss"], "value": [1.0]})
    store.put(found.graph.p_star, broad, NO_COST)
    store.put(found.graph.reward.parents["p_target"], narrow, NO_COST)
    for node in found.cell.models.values():
        store.put(node, narrow | learned | {"curves.parquet": curve}, NO_COST)
    done(run_sample(found.graph.truth, store, WorkerGroup()))
    done(run_sample(found.graph.p_prime.parents["samples"], store, WorkerGroup()))
    done(run_oracle(found.graph.reward.parents["oracle"], store, WorkerGroup()))
    for node in found.cell.assessments.values():
        done(run_assess(node, store, WorkerGroup()))
    return found


@pytest.fixture
def sets(built: BuiltCell, tiny_tokenizer: PreTrainedTokenizerFast) -> tuple[PromptSet, PromptSet]:
    """The prompts that are learned from, and those held out."""
    oracle, truth = built.graph.reward.parents["oracle"].config, built.graph.truth.config
    return asked(oracle, tiny_tokenizer), asked(truth, tiny_tokenizer)


def prompts_in(table: pa.Table) -> list[tuple[int, ...]]:
    rows = zip(table["input_ids"].to_pylist(), table["prompt_tokens"].to_pylist(), strict=True)
    return [tuple(ids[:count]) for ids, count in rows]


def test_training_and_judging_ask_apart(
    built: BuiltCell, sets: tuple[PromptSet, PromptSet]
) -> None:
    learned, judged = (set(map(tuple, part.rows.lists())) for part in sets)
    assert (len(learned), len(judged)) == (5, 3)
    samples = built.graph.p_prime.parents["samples"]
    for split in ("train", "heldout"):
        assert set(prompts_in(read_shards(built.store, samples, split))) == learned
    truth = prompts_in(read_shards(built.store, built.graph.truth))
    assert {prompt: truth.count(prompt) for prompt in judged} == dict.fromkeys(judged, 20)
    target = built.store.read_table(built.graph.reward.parents["oracle"], "samples.parquet")
    assert set(target["prompt"].to_pylist()) == set(range(5))


def test_prompts_are_sampled_by_weight_and_never_learned(
    built: BuiltCell, sets: tuple[PromptSet, PromptSet], tmp_path: Path
) -> None:
    table = read_shards(built.store, built.graph.p_prime.parents["samples"])
    found = prompts_in(table)
    for prompt, weight in zip(sets[0].rows.lists(), sets[0].weight_K, strict=True):
        expected = 300 * weight
        assert abs(found.count(tuple(prompt)) - expected) < 4 * math.sqrt(expected)
    artifact = built.store.open(built.graph.p_prime.parents["samples"])
    mapped = map_sequences(artifact, "train", tmp_path, 160, WorkerGroup())
    batch = mapped.padded(np.arange(12), 1)
    for row, ids in enumerate(found[:12]):
        labels = batch["labels"][row]
        assert bool((labels[: len(ids)] == IGNORED).all())
        response = table["input_ids"][row].as_py()[len(ids) :]
        assert labels[len(ids) :][: len(response)].tolist() == response


def test_a_model_is_judged_prompt_by_prompt(
    built: BuiltCell,
    sets: tuple[PromptSet, PromptSet],
    tiny_model: PreTrainedModel,
    narrow_model: PreTrainedModel,
) -> None:
    """Truth under q, p_target's samples under q: each row by plain transformers, alone."""
    node = built.cell.assessments["final"]
    truth = read_shards(built.store, built.graph.truth)
    scored = built.store.read_table(node, assess.TRUTH_FILE)
    for row, prompt in enumerate(prompts_in(truth)):
        ids = truth["input_ids"][row].as_py()
        expected = plain_log_probs(narrow_model, prompt, ids[len(prompt) :]).sum()
        assert scored["log_q"][row].as_py() == pytest.approx(float(expected), abs=1e-3)
    samples = read_shards(built.store, built.graph.p_prime.parents["samples"], "heldout")
    for row, prompt in enumerate(prompts_in(samples)):
        response = samples["input_ids"][row].as_py()[len(prompt) :]
        drawn = plain_log_probs(tiny_model, prompt, response).sum()
        assert sum(samples["log_probs"][row].as_py()) == pytest.approx(float(drawn), abs=1e-3)
    target = built.store.read_table(built.graph.reward.parents["oracle"], "samples.parquet")
    under = built.store.read_table(node, assess.TARGET_FILE)
    lists = sets[0].rows.lists()
    for row in range(20):
        one = lists[target["prompt"][row].as_py()]
        expected = plain_log_probs(narrow_model, one, target["tokens"][row].as_py()).sum()
        assert under["log_q"][row].as_py() == pytest.approx(float(expected), abs=1e-3)


def test_metrics_weigh_prompts_and_responses_hold_what_they_are_of(
    built: BuiltCell, sets: tuple[PromptSet, PromptSet]
) -> None:
    found = evaluate([built.cell], built.store)
    assert found.responses is not None
    rows = found.responses.to_pandas()
    final = rows[rows["model"] == "final"]
    assert len(final) == SAMPLES
    assert set(rows["model"]) == set(built.cell.models)
    judged = dict(zip(sets[1].ids, sets[1].weight_K, strict=True))
    assert set(final["prompt_id"]) == set(judged)
    metrics = found.metrics.to_pandas()
    metrics = metrics[metrics["model"] == "final"].set_index("metric")
    for column, metric in (("reward", "reward"), ("length", "length")):
        means = final.groupby("prompt_id")[column].mean()
        expected = sum(weight * means[name] for name, weight in judged.items())
        assert metrics.loc[metric, "value"] == pytest.approx(expected, rel=1e-5)
    precision = (final["log_p_star"] / final["length"]).groupby(final["prompt_id"]).mean()
    expected = sum(weight * precision[name] for name, weight in judged.items())
    assert metrics.loc["overall_precision", "value"] == pytest.approx(expected, rel=1e-5)
    kept = final[final["text"].notna()]
    assert kept.groupby("prompt_id").size().tolist() == [11, 11, 11]  # 32 of three prompts
    assert all(row.prompt == f"The {row.prompt_id}" for row in kept.itertuples())


def test_a_lone_prompt_of_a_file_has_its_own_id(built: BuiltCell) -> None:
    """Of few prompts one is held out."""
    settings = LlmSettings.model_validate(
        {**built.cell.settings.model_dump(), "prompt_holdout": 0.1}
    )
    one = BuiltCell(built.store, settings)
    for model in ("p_prime", "final"):
        files = {name: built.store.read(built.cell.models[model], name)
                 for name in built.store.open(built.cell.models[model]).names}  # fmt: skip
        if not built.store.has(one.cell.models[model]):
            built.store.put(one.cell.models[model], files, NO_COST)
    target = built.store.open(built.graph.reward.parents["p_target"])
    if not built.store.has(one.graph.reward.parents["p_target"]):
        files = {name: target.read(name) for name in target.names}
        built.store.put(one.graph.reward.parents["p_target"], files, NO_COST)
    done(run_sample(one.graph.truth, one.store, WorkerGroup()))
    done(run_oracle(one.graph.reward.parents["oracle"], one.store, WorkerGroup()))
    node = one.cell.assessments["final"]
    done(run_assess(node, one.store, WorkerGroup()))
    cell = replace(one.cell, models={"final": one.cell.models["final"]},
                   assessments={"final": node})  # fmt: skip
    found = response_rows([cell], ["final"], one.store)
    (name,) = set(found["prompt_id"].to_pylist())
    assert name in WORDS


def test_which_texts_are_kept_and_how_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert assess.kept_rounds("none", 3) == 0
    assert assess.kept_rounds("few", 1) == 32
    assert assess.kept_rounds("few", 200) == 2
    assert assess.kept_rounds("all", 200) == math.inf
    texts = pa.table({"asked": ["The", None, "The", "The"], "text": ["sea", None, "été", "x"]})
    kept = assess.kept_texts(texts)
    assert kept is not None
    assert kept["sample"].to_pylist() == [0, 2, 3]
    monkeypatch.setattr(assess, "TEXT_BYTES", 14)  # the second's accents take two bytes each
    kept = assess.kept_texts(texts)
    assert kept is not None
    assert kept["sample"].to_pylist() == [0, 2]
    monkeypatch.setattr(assess, "TEXT_BYTES", 5)
    assert assess.kept_texts(texts) is None
    assert assess.kept_texts(texts.slice(1, 1)) is None
