"""The metrics and curves of finished cells, from what their models' assessments hold.

No model is loaded here: an assessment scored each one once. What depends on a cell's `kl_weight`
(the optimum anchored to a reference, the penalty of moving to the target) is weighed here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recalltrap.graph import Cell, Node
from recalltrap.kind import Evaluation
from recalltrap.results.metric_rows import Value, metric_rows, numbered
from recalltrap.results.tables import table_schema
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.grammar import sentences
from recalltrap_studies.llm.metrics import importance_weights
from recalltrap_studies.llm.metrics.importance_weights import MeanWithError, Strata
from recalltrap_studies.llm.metrics.responses import response_rows
from recalltrap_studies.llm.models.weights import CURVES_FILE, FACTS_FILE
from recalltrap_studies.llm.rewards.oracle import ORACLE_FILE
from recalltrap_studies.llm.rewards.values import (
    REWARD,
    is_at,
    name_at,
)
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stage_settings import ORACLE, SCORER_PLACES
from recalltrap_studies.llm.stages.assess import (
    OWN_FILE,
    PROMPTS_FILE,
    REWARD_FILE,
    TARGET_FILE,
    TRUTH_FILE,
)
from recalltrap_studies.llm.stages.registry import STAGES

Array = npt.NDArray[np.float64]

REFERENCES = ("p_prime", "p_second")
NOT_MEASURED = frozenset({"topic", "grammatical", "prompt", "text", "group"})
"""Columns of an assessment that hold no number of a response."""


def _value(metric: str, estimate: MeanWithError, samples: int, scorer: str) -> Value:
    return Value(metric, estimate.value, estimate.standard_error, samples, scorer)


@dataclass(frozen=True)
class Rewarded:
    """What the responses of an assessment were judged by: the names, and what is said of R."""

    name: str
    supremum: float | None
    samples: int
    """Behind the supremum."""
    scorers: dict[str, str]
    """Place → name."""

    @classmethod
    def read(cls, store: ArtifactStore, node: Node) -> Rewarded:
        """Of the assessment that a node built."""
        scorers = {place: name_at(node, place) for place in SCORER_PLACES if is_at(node, place)}
        if oracle := node.parents.get(ORACLE):
            bound = float(json.loads(store.read(oracle, ORACLE_FILE))["supremum"])
            return cls(ORACLE, bound, int(oracle.config["oracle_samples"]), scorers)
        supremum = json.loads(store.read(node, REWARD_FILE))["supremum"]
        return cls(name_at(node, REWARD), supremum, 0, scorers)

    def bound(self) -> list[Value]:
        """The supremum of the reward, where one is known."""
        if self.supremum is None:
            return []
        return [Value("reward_supremum", self.supremum, 0.0, self.samples, self.name)]


@dataclass(frozen=True)
class Assessment:
    """What one model's assessment holds, as arrays over N responses."""

    own: dict[str, Array]  # [N]: of the model's own samples
    truth: dict[str, Array]  # [M]: of p*'s samples
    target: dict[str, Array] | None  # [K]: of p_target's samples; None without a p_target
    topic_N: npt.NDArray[np.object_] | None
    """Each own sample's topic, None where it has none; None where the language has no topics."""
    target_topic_K: npt.NDArray[np.object_] | None
    grammatical_N: Array | None
    rewarded: Rewarded
    own_prompts: Strata | None = None
    """Which prompt the own samples are to, where there are several; likewise p*'s."""
    truth_prompts: Strata | None = None
    group_M: npt.NDArray[np.object_] | None = None
    """Of a file's truth each row's group, where it has groups."""

    @classmethod
    def read(cls, store: ArtifactStore, node: Node) -> Assessment:
        """The assessment that a node built."""
        artifact = store.open(node)
        own, truth = artifact.read_table(OWN_FILE), artifact.read_table(TRUTH_FILE)
        target = artifact.read_table(TARGET_FILE) if TARGET_FILE in artifact.names else None
        several = PROMPTS_FILE in artifact.names
        weight_K = artifact.read_table(PROMPTS_FILE)["weight"].to_numpy() if several else None
        read = own["grammatical"].null_count == 0
        of_file = "group" in truth.column_names
        grouped = of_file and truth["group"].null_count == 0
        return cls(
            own=_numbers(own),
            truth=_numbers(truth),
            target=None if target is None else _numbers(target),
            topic_N=np.array(own["topic"].to_pylist(), dtype=object) if read else None,
            target_topic_K=np.array(target["topic"].to_pylist(), dtype=object)
            if read and target is not None
            else None,
            grammatical_N=np.array(own["grammatical"].to_pylist(), dtype=float) if read else None,
            rewarded=Rewarded.read(store, node),
            own_prompts=None if weight_K is None else _strata(own, weight_K),
            truth_prompts=None if weight_K is None or of_file else _strata(truth, weight_K),
            group_M=np.array(truth["group"].to_pylist(), dtype=object) if grouped else None,
        )

    def scores(self) -> list[Value]:
        """The four metrics, per token: means over responses of each one's mean over its tokens."""
        own, truth = self.own, self.truth
        recall_M = truth["log_q"] / truth["length"]
        recall = importance_weights.mean(recall_M, self.truth_prompts)
        rows = [("overall_precision", own["log_p_star"] / own["length"], "p_star")]
        if self.target is not None:
            rows.append(("target_precision", own["log_p_target"] / own["length"], "p_target"))
        rows += [
            ("reward", own["reward"], self.rewarded.name),
            ("length", own["length"], "model"),
            ("eos_rate", own["finished"], "model"),
        ]
        values = [_value(name, self.mean(x), len(x), scorer) for name, x, scorer in rows]
        values.insert(1, _value("overall_recall", recall, len(recall_M), "model"))
        return [*values, *self.judged(), *self.group_recalls(recall_M), *self.reading()]

    def group_recalls(self, recall_M: Array) -> list[Value]:
        """Overall recall of each group of a file's rows, in nats per token."""
        if self.group_M is None:
            return []
        found = []
        for group in dict.fromkeys(self.group_M):
            recall_G = recall_M[self.group_M == group]
            mean = importance_weights.mean(recall_G)
            found.append(_value(f"group_recall/{group}", mean, len(recall_G), "model"))
        return found

    def judged(self) -> list[Value]:
        """How often the oracle's target is hit; of another reward its spread, the unit of what has
        no supremum; and each scorer's mean and spread."""
        reward_N, count, name = self.own["reward"], len(self.own["reward"]), self.rewarded.name
        if self.target is not None:
            assert self.rewarded.supremum is not None, "the oracle's is known"
            hits = importance_weights.hit_rate(reward_N, self.rewarded.supremum, self.own_prompts)
            values = [_value("hit_rate", hits, count, name)]
        else:
            values = [_value("reward_sd", self.spread(reward_N), count, name)]
        for place, scorer in self.rewarded.scorers.items():
            score_N = self.own[place]
            values.append(_value("score", self.mean(score_N), count, scorer))
            values.append(_value("score_sd", self.spread(score_N), count, scorer))
        return values

    def spread(self, values_N: Array) -> MeanWithError:
        """The standard deviation of something that each own sample has."""
        return importance_weights.deviation(values_N, self.own_prompts)

    def mean(self, values_N: Array) -> MeanWithError:
        """Of something that each own sample has."""
        return importance_weights.mean(values_N, self.own_prompts)

    def reading(self) -> list[Value]:
        """What a reader sees: the share of each topic, their coverage, and the grammar kept."""
        if self.topic_N is None or self.grammatical_N is None:
            return []
        count = len(self.topic_N)
        coverage = topic_coverage(self.topic_N, self.own_prompts)
        values = [
            _value("grammatical", self.mean(self.grammatical_N), count, "grammar"),
            _value("topic_coverage", coverage, count, "grammar"),
        ]
        for topic, is_N in self.topics():
            values.append(_value(f"topic_share/{topic}", self.mean(is_N), count, "grammar"))
        return values

    def topics(self) -> list[tuple[str, Array]]:
        """For each topic, 1 where a sample is of it."""
        if self.topic_N is None:
            return []
        return [(topic, (self.topic_N == topic).astype(float)) for topic in sentences.TOPICS]

    def anchor(self, kl_weight: float) -> list[Value]:
        """What the model decides as a reference, before any alignment."""
        own, count = self.own, len(self.own["reward"])
        best = importance_weights.optimum(own["reward"], kl_weight, self.own_prompts)
        weighed = [("optimum_reward", own["reward"])]
        if self.target is not None:
            precision_N = own["log_p_target"] / own["length"]
            weighed.append(("optimum_target_precision", precision_N))
        weighed += [(f"optimum_topic_share/{topic}", is_N) for topic, is_N in self.topics()]
        return [
            *(_value(name, best.mean(values_N), count, "importance") for name, values_N in weighed),
            Value("optimum_ess", best.effective_samples, 0.0, count, "importance"),
            *self._penalty(kl_weight),
            *self.rewarded.bound(),
            *self.wanted(),
        ]

    def _penalty(self, kl_weight: float) -> list[Value]:
        """Forward KL(p_target || reference) of whole responses, by p_target's own samples."""
        if self.target is None:
            return []
        penalty_K = kl_weight * (self.target["log_p_target"] - self.target["log_q"])
        penalty = importance_weights.mean(penalty_K)
        return [_value("kl_penalty_at_target", penalty, len(penalty_K), "p_target")]

    def wanted(self) -> list[Value]:
        """Each topic's weight in the language, and its share of what the target says."""
        if self.target_topic_K is None:
            return []
        count = len(self.target_topic_K)
        values = [
            Value(f"topic_weight/{t}", w, 0.0, 1, "grammar") for t, w in sentences.TOPICS.items()
        ]
        for topic in sentences.TOPICS:
            is_K = (self.target_topic_K == topic).astype(float)
            share = importance_weights.mean(is_K)
            values.append(_value(f"target_topic_share/{topic}", share, count, "grammar"))
        return values


def topic_coverage(
    topic_N: npt.NDArray[np.object_], prompts: Strata | None = None
) -> MeanWithError:
    """The share of its weight in the language that a topic keeps, 1 at most, mean over topics.

    Rare topics count as much as common ones. 1 where every topic has the weight that it has in
    the grammar; the standard error is the delta method's.
    """
    gain_N = np.zeros(len(topic_N))
    total = 0.0
    for topic, weight in sentences.TOPICS.items():
        is_N = topic_N == topic
        share = float(is_N.mean()) if prompts is None else prompts.mean(is_N.astype(float)).value
        kept = share / weight
        total += min(kept, 1.0)
        if kept < 1.0:
            gain_N += is_N / weight
    spread = importance_weights.mean(gain_N / len(sentences.TOPICS), prompts)
    return MeanWithError(total / len(sentences.TOPICS), spread.standard_error)


def _numbers(table: pa.Table) -> dict[str, Array]:
    """The measured columns; the others have a place of their own."""
    names = [name for name in table.column_names if name not in NOT_MEASURED]
    return {name: table[name].to_numpy().astype(float) for name in names}


def _strata(table: pa.Table, weight_K: Array) -> Strata:
    return Strata(table["prompt"].to_numpy().astype(np.int64), weight_K)


class Evaluator:
    """Evaluates each model once, however many of the cells name it."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        self._read: dict[str, tuple[Assessment, list[Value]]] = {}

    def values(self, cell: Cell, names: Sequence[str]) -> list[tuple[str, Value]]:
        """(model, value) for the cell's models among `names`."""
        settings = cell.settings
        assert isinstance(settings, LlmSettings)
        rows = []
        for name in names:
            if name not in cell.models:
                continue
            assessment, scores = self._assessment(cell.assessments[name])
            values = [*scores, *self._training(cell.models[name])]
            if name in REFERENCES:
                values += assessment.anchor(settings.kl_weight)
            rows += [(name, value) for value in values]
        return rows

    def _assessment(self, node: Node) -> tuple[Assessment, list[Value]]:
        if node.id not in self._read:
            assessment = Assessment.read(self.store, node)
            self._read[node.id] = assessment, assessment.scores()
        return self._read[node.id]

    def _training(self, node: Node) -> list[Value]:
        """How far a student is from its teacher: held-out loss against the teacher's entropy; of
        an alignment, the update whose weights it ended with."""
        artifact = self.store.open(node)
        if FACTS_FILE not in artifact.names:
            return []
        facts = json.loads(artifact.read(FACTS_FILE))
        if "selected_step" in facts:
            return [Value("selected_step", float(facts["selected_step"]), 0.0, 1, "selection")]
        if "heldout_loss" not in facts or "teacher_entropy" not in facts:
            return []
        loss, entropy = float(facts["heldout_loss"]), float(facts["teacher_entropy"])
        samples = node.parents.get("samples")
        count = int(samples.config.get("heldout_samples", 0)) if samples else 0
        return [
            Value("heldout_loss", loss, 0.0, count, "model"),
            Value("teacher_entropy", entropy, 0.0, count, "teacher"),
            Value("distillation_gap", loss - entropy, 0.0, count, "model"),
        ]


def _metrics(cells: Sequence[Cell], names: Sequence[str], evaluator: Evaluator) -> pa.Table:
    return metric_rows(
        (cell.id, model, value) for cell in cells for model, value in evaluator.values(cell, names)
    )


def _curves(cells: Sequence[Cell], store: ArtifactStore) -> pa.Table:
    """Curves of all trainings that led to each cell's models; a repeated stage has its number."""
    schema = table_schema("curves")
    parts = [schema.empty_table()]
    for cell in cells:
        trained = [node for node in cell.nodes if _has_curves(node, store)]
        for stage, node in numbered(trained):
            curve = store.read_table(node, CURVES_FILE)
            size = curve.num_rows
            data = {
                "cell_id": [cell.id] * size,
                "stage": [stage] * size,
                **{name: curve[name] for name in ("step", "metric", "value")},
            }
            parts.append(pa.table(data).cast(schema))
    return pa.concat_tables(parts)


def _has_curves(node: Node, store: ArtifactStore) -> bool:
    return STAGES[node.stage].curves and CURVES_FILE in store.open(node).names


def evaluate(cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
    """All metrics, curves and responses of finished cells."""
    names = (*REFERENCES, "p_prime_aligned", "final")
    metrics = _metrics(cells, names, Evaluator(store))
    return Evaluation(metrics, _curves(cells, store), response_rows(cells, names, store))


def evaluate_references(cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
    """The metrics of p' and p'' alone."""
    return Evaluation(_metrics(cells, REFERENCES, Evaluator(store)))
