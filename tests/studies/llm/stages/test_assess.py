"""A whole small cell judged: samplers and scorers agree, workers change nothing, metrics add up."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from recalltrap.errors import StageError
from recalltrap.graph import Cell, Node
from recalltrap.kind import Progress
from recalltrap.orderings import Ordering
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap_studies.llm.data.sample_shards import read_shards
from recalltrap_studies.llm.graph import Graph
from recalltrap_studies.llm.metrics import importance_weights
from recalltrap_studies.llm.metrics.evaluation import Assessment, evaluate, evaluate_references
from recalltrap_studies.llm.models import weights as models
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages.assess import OWN_FILE, TARGET_FILE, TRUTH_FILE, run_assess
from recalltrap_studies.llm.stages.oracle import run_oracle
from recalltrap_studies.llm.stages.sample import run_sample
from tests.studies.llm.scoring import plain_log_probs

pytestmark = pytest.mark.slow

SETTINGS = LlmSettings(
    evaluation_samples=700, oracle_samples=600, sample_tokens=9, align_tokens=6, kl_weight=0.5
)
COST = Cost(1.0, 1.0, 1, 1.0, "cpu", 1)


@dataclass
class BuiltStudy:
    """A store in which everything before the assessments stands."""

    store: ArtifactStore
    graph: Graph

    def cell(self, name: str, settings: LlmSettings = SETTINGS) -> Cell:
        graph = Graph(settings, 1)
        ordering = Ordering.model_validate(name)
        made = graph.models(ordering)
        judges = {key: graph.assess(node) for key, node in made.items()}
        return Cell("llm", ordering, 1, settings, made, 1, judges)

    def own(self, node: Node) -> pd.DataFrame:
        frame: pd.DataFrame = self.store.read_table(node, OWN_FILE).to_pandas()
        return frame


def put(store: ArtifactStore, node: Node, files: dict[str, bytes]) -> None:
    facts = {"heldout_loss": 1.5, "teacher_entropy": 1.2}
    if node.stage == "align":
        facts = {"selected_step": 30}
    curve = pa.table({"step": [1, 2], "metric": ["loss", "loss"], "value": [2.0, 1.5]})
    extra = {
        "facts.json": json.dumps(facts).encode(),
        "curves.parquet": curve,
    }
    if node.stage == "pretrain":
        extra = {}
    store.put(node, files | extra, COST)


def done(run: Any) -> None:
    for _ in run:
        pass


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: PreTrainedModel,
    narrow_model: PreTrainedModel,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> BuiltStudy:
    """p*, p' and all finals are one model; p'', p_target and the alignment of p' a narrower one."""
    store = ArtifactStore(Storage(str(tmp_path_factory.mktemp("study"))))
    built = BuiltStudy(store, Graph(SETTINGS, 1))
    broad = models.model_files(tiny_model, tiny_tokenizer)
    narrow = models.model_files(narrow_model, tiny_tokenizer)
    put(store, built.graph.p_star, broad)
    put(store, built.graph.p_prime, broad)
    put(store, built.graph.reward.parents["p_target"], narrow)
    cells = [built.cell(name) for name in ("K-A", "A-K")]
    for cell in cells:
        for name, node in cell.models.items():
            if not store.has(node):
                put(store, node, broad if name == "final" else narrow)
    done(run_sample(built.graph.truth, store, WorkerGroup()))
    done(run_oracle(built.graph.reward.parents["oracle"], store, WorkerGroup()))
    for cell in cells:
        for node in cell.assessments.values():
            if not store.has(node):
                done(run_assess(node, store, WorkerGroup()))
    return built


def test_the_threshold_is_the_quantile_of_the_oracle_s_own_samples(study: BuiltStudy) -> None:
    node = study.graph.reward.parents["oracle"]
    facts = json.loads(study.store.read(node, "oracle.json"))
    samples = study.store.read_table(node, "samples.parquet")
    nll = np.array([-np.mean(row) for row in samples["log_probs"].to_pylist()])
    reward = 10.0 * np.exp(-0.5 * nll)
    assert len(reward) == SETTINGS.oracle_samples
    assert facts["threshold"] == facts["supremum"] == pytest.approx(np.quantile(reward, 0.9), 1e-6)


def test_a_model_s_sample_has_the_scorer_s_likelihood(study: BuiltStudy) -> None:
    """p' is p* here, so its own log-likelihood and p*'s score are the same number, twice made."""
    own = study.own(study.cell("K-A").assessments["p_prime"])
    per_token = (own["log_q"] - own["log_p_star"]) / own["length"]
    assert len(own) == SETTINGS.evaluation_samples
    assert per_token.abs().max() < 1e-4
    assert own["finished"].any()
    assert not own["finished"].all()
    assert (own["length"] <= SETTINGS.sample_tokens).all()


def test_the_recall_of_p_star_s_own_copy_is_minus_its_entropy(study: BuiltStudy) -> None:
    node = study.cell("K-A").assessments["p_prime"]
    truth = study.store.read_table(node, TRUTH_FILE).to_pandas()
    p_star = models.read_model(study.store, study.graph.p_star)
    drawn = read_shards(study.store, study.graph.truth).to_pylist()
    for row, log_q in zip(drawn[:40], truth["log_q"], strict=False):
        prompt, response = np.split(row["input_ids"], [row["prompt_tokens"]])
        log_probs_T = plain_log_probs(p_star, prompt.tolist(), response.tolist())
        assert log_q == pytest.approx(float(log_probs_T.sum()), abs=1e-3)


def test_scoring_says_how_far_it_is(study: BuiltStudy) -> None:
    """Of own samples, of the truth's and of p_target's, in that order and in one count."""
    told: list[Progress] = []
    node = replace(study.cell("K-A").assessments["p_second"], version=99)
    yielded = list(run_assess(node, study.store, WorkerGroup(report=told.append)))
    steps = [step.step for step in (*yielded[:-1], *told, yielded[-1])]
    assert steps == [512, 700, 1212, 1400, 1912, 2000, 2000]
    assert {step.steps for step in (*told, *yielded)} == {2000}


def test_the_reward_sees_as_many_tokens_as_an_alignment(study: BuiltStudy) -> None:
    own = study.own(study.cell("K-A").assessments["p_second"])
    facts = json.loads(study.store.read(study.graph.reward.parents["oracle"], "oracle.json"))
    whole = -own["log_p_target"] / own["length"]
    short = own["length"] <= SETTINGS.align_tokens
    assert np.allclose(own["nll"][short], whole[short], atol=1e-5)
    assert (own["nll"][~short] - whole[~short]).abs().max() > 1e-3
    base = 10.0 * np.exp(-0.5 * own["nll"])
    folded = np.where(base > facts["threshold"], 2 * facts["threshold"] - base, base)
    assert np.allclose(own["reward"], folded, atol=1e-5)


def test_all_models_of_a_seed_draw_the_same_uniforms(study: BuiltStudy) -> None:
    """Equal models give equal samples: evaluation noise cancels in the pairs."""
    ka, ak = (study.cell(name).assessments for name in ("K-A", "A-K"))
    assert study.own(ka["final"]).equals(study.own(ak["final"]))
    assert not study.own(ka["final"]).equals(study.own(ka["p_second"]))


def together(size: int, work: Callable[[WorkerGroup], None]) -> None:
    """`work` on every rank of a group of threads."""
    barrier = threading.Barrier(size)
    said: dict[int, Any] = {}
    errors: list[BaseException] = []

    def of(rank: int) -> WorkerGroup:
        def gather(value: Any) -> list[Any]:
            said[rank] = value
            barrier.wait(30)
            everyone = [said[r] for r in range(size)]
            barrier.wait(30)
            return everyone

        return WorkerGroup(rank, size, lambda value: gather(value)[0], gather)

    def run(rank: int) -> None:
        try:
            work(of(rank))
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def test_the_number_of_workers_changes_no_byte(
    study: BuiltStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, read_model = threading.Lock(), models.read_model

    def one_at_a_time(store: ArtifactStore, node: Node) -> PreTrainedModel:
        with lock:  # transformers loads weights under a global switch
            return read_model(store, node)

    monkeypatch.setattr(models, "read_model", one_at_a_time)
    node = study.cell("K-A").assessments["p_second"]
    other = ArtifactStore(Storage(str(tmp_path)))
    for parent in (*node.parents.values(), *study.graph.reward.parents["oracle"].parents.values()):
        if not other.has(parent):
            names = study.store.open(parent).names
            other.put(parent, {name: study.store.read(parent, name) for name in names}, COST)
    together(2, lambda group: done(run_assess(node, other, group)))
    for name in (OWN_FILE, TRUTH_FILE, TARGET_FILE):
        assert other.read(node, name) == study.store.read(node, name), name
    assert other.open(node).cost["workers"] == 2


def test_a_model_with_broken_weights_fails_as_nan(
    study: BuiltStudy, own_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    with torch.no_grad():
        next(own_model.parameters()).fill_(float("nan"))
    broken = Node("distill", 1, {"test": "broken"})
    put(study.store, broken, models.model_files(own_model, tiny_tokenizer))
    with pytest.raises(StageError) as caught:
        done(run_assess(study.graph.assess(broken), study.store, WorkerGroup()))
    assert caught.value.failure == "nan"


def test_the_metrics_of_a_cell(study: BuiltStudy) -> None:
    cells = [study.cell("K-A"), study.cell("A-K")]
    found = evaluate(cells, study.store)
    metrics = found.metrics.to_pandas()
    wide = metrics.set_index(["cell_id", "model", "metric"])["value"]
    assert not wide.index.duplicated().any()
    assert np.isfinite(metrics[["value", "standard_error"]]).all(axis=None)
    ka, ak = wide[cells[0].id], wide[cells[1].id]
    own = study.own(cells[0].assessments["p_second"])
    per_token = own["log_p_target"] / own["length"]
    assert ka["p_second", "target_precision"] == pytest.approx(per_token.mean())
    weights = np.exp((own["reward"] - own["reward"].max()) / SETTINGS.kl_weight)
    expected = (weights * own["reward"]).sum() / weights.sum()
    assert ka["p_second", "optimum_reward"] == pytest.approx(expected)
    assert ka["p_second", "optimum_reward"] > ka["p_second", "reward"]
    assert ka["p_second", "reward_supremum"] == ak["p_prime", "reward_supremum"]
    assert ka["p_second", "distillation_gap"] == pytest.approx(0.3)
    assert ak["p_prime_aligned", "selected_step"] == 30
    assert ("final", "distillation_gap") not in ka.index  # K-A ends with an alignment
    assert ("final", "distillation_gap") in ak.index
    assert ("final", "optimum_reward") not in ka.index
    assert ka["p_prime", "overall_recall"] > ka["p_second", "overall_recall"]


def test_moving_to_the_target_costs_a_reference_its_forward_kl(study: BuiltStudy) -> None:
    """p'' holds p_target's weights here: no penalty. p' is another model: the KL is positive."""
    metrics = evaluate([study.cell("K-A")], study.store).metrics.to_pandas()
    rows = metrics[metrics["metric"] == "kl_penalty_at_target"].set_index("model")
    assert rows.loc["p_second", "value"] == pytest.approx(0.0, abs=1e-3)
    assert rows.loc["p_prime", "value"] > 4.0 * rows.loc["p_prime", "standard_error"] > 0.0
    double = study.cell("K-A", SETTINGS.model_copy(update={"kl_weight": 1.0}))
    again = evaluate_references([double], study.store).metrics.to_pandas()
    again = again[again["metric"] == "kl_penalty_at_target"].set_index("model")
    assert again.loc["p_prime", "value"] == pytest.approx(2.0 * rows.loc["p_prime", "value"])


def test_references_are_evaluated_alone(study: BuiltStudy) -> None:
    found = evaluate_references([study.cell("A-K")], study.store)
    assert found.curves is None
    assert set(found.metrics["model"].to_pylist()) == {"p_prime", "p_second"}


def test_curves_number_a_repeated_stage(study: BuiltStudy) -> None:
    found = evaluate([study.cell("A-K")], study.store)
    assert found.curves is not None
    stages = set(found.curves["stage"].to_pylist())
    assert stages == {"sft", "target", "distill", "align", "distill-2"}


def test_the_grammar_s_language_has_topics_and_others_have_none(study: BuiltStudy) -> None:
    """The tiny language isn't the grammar's, so nothing here is grammatical."""
    read = Assessment.read(study.store, study.cell("K-A").assessments["p_prime"])
    assert read.topic_N is not None
    assert {value.metric: value.value for value in read.reading()}["grammatical"] < 0.5
    weights = [value for value in read.wanted() if value.metric.startswith("topic_weight/")]
    assert sum(value.value for value in weights) == pytest.approx(1.0)


def test_hits_are_counted_against_the_computed_supremum(study: BuiltStudy) -> None:
    read = Assessment.read(study.store, study.cell("K-A").assessments["p_second"])
    values = {value.metric: value for value in read.scores()}
    own = study.own(study.cell("K-A").assessments["p_second"])
    supremum = read.rewarded.supremum
    assert supremum is not None
    assert values["hit_rate"].value == (own["reward"] >= 0.9 * supremum).mean()
    assert (
        values["hit_rate"].value
        == importance_weights.hit_rate(own["reward"].to_numpy(), supremum).value
    )
