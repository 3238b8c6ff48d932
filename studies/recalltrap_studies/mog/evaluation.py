"""The metrics and curves of finished cells.

Nothing is sampled: a metric is an expectation over mixtures, closed or by quadrature, and its
`standard_error` is the difference of two orders. Each model is evaluated once, however many cells
name it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from recalltrap.graph import Cell, Node
from recalltrap.kind import Evaluation
from recalltrap.results.metric_rows import Value, metric_rows, numbered
from recalltrap.settings_parts import shared_config
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.mog import references
from recalltrap_studies.mog.exact.expectations import log_density
from recalltrap_studies.mog.exact.rewards import expected_reward
from recalltrap_studies.mog.exact.values import Expectation
from recalltrap_studies.mog.ground_truth import (
    RewardFunction,
    p_star,
    p_target,
    reward_function,
)
from recalltrap_studies.mog.models import MODEL_FILE, Model, unpack
from recalltrap_studies.mog.reference_distance import Parties, distances
from recalltrap_studies.mog.settings import MogSettings
from recalltrap_studies.mog.stage_settings import Evaluate
from recalltrap_studies.mog.stages import ALIGN

REFERENCES = ("p_prime", "p_second")
"""Models that alignments may be anchored to, by the names of the `metrics` table."""


Curve = dict[str, np.ndarray]
"""A training curve: `step` and one array for each measure, all of one length."""


@dataclass(frozen=True)
class GroundTruth:
    """What models are held against under one set of evaluation settings, the same for all seeds."""

    p_star: Model
    p_target: Model
    reward: RewardFunction

    @classmethod
    def of(cls, settings: Evaluate) -> GroundTruth:
        """That of a cell."""
        return cls(p_star(settings, settings), p_target(settings), reward_function(settings))

    def score(self, model: Model) -> list[Value]:
        """The four metrics of a model."""
        return [
            _value("overall_precision", log_density(model, self.p_star)),
            _value("overall_recall", log_density(self.p_star, model)),
            _value("target_precision", log_density(model, self.p_target)),
            _value("reward", expected_reward(model, self.reward)),
        ]


def _value(metric: str, of: Expectation, factor: float = 1.0) -> Value:
    return Value(metric, factor * of.value, factor * of.error, of.nodes, of.method)


class Evaluator:
    """Evaluates each model once. Identities are hashes of content, so what it keeps stays true."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        self._loaded: dict[str, tuple[Model, Curve]] = {}
        self._truths: dict[str, GroundTruth] = {}
        self._scores: dict[tuple[str, str], list[Value]] = {}
        self._as_reference: dict[tuple[str, str], tuple[Expectation, Expectation]] = {}
        self._optima: dict[tuple[str, str, float], references.Optimum] = {}
        self._distances: dict[str, Curve] = {}

    def forget_all_but(self, kept: set[str]) -> None:
        """Forget the models that no later cell will name, keep the references."""
        self._loaded = {k: v for k, v in self._loaded.items() if k in kept}
        self._scores = {k: v for k, v in self._scores.items() if k[1] in kept}
        self._distances = {}

    def model(self, node: Node) -> Model:
        """The model of a node."""
        return self._load(node)[0]

    def curve(self, node: Node) -> Curve:
        """The training curve of a node: `step` and one array for each metric."""
        return self._load(node)[1]

    def curves(self, node: Node) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """(metric, steps, values) of a node's training, and of where it began and ended."""
        curve = self.curve(node)
        for metric, values in curve.items():
            if metric != "step":
                yield metric, curve["step"], values
        if node.stage == ALIGN.name:
            steps = np.array([0, ALIGN.iterations(node)])
            for metric, values in self._distances_of(node).items():
                yield metric, steps, values

    def _distances_of(self, node: Node) -> Mapping[str, np.ndarray]:
        if node.id not in self._distances:
            start, reference = (self.model(node.parents[name]) for name in ("start", "reference"))
            found = distances(node, Parties(start, reference, self.model(node)))
            self._distances[node.id] = {name: np.array(ends) for name, ends in found.items()}
        return self._distances[node.id]

    def _load(self, node: Node) -> tuple[Model, Curve]:
        if node.id not in self._loaded:
            self._loaded[node.id] = unpack(self.store.read(node, MODEL_FILE))
        return self._loaded[node.id]

    def values(self, cell: Cell, names: Sequence[str]) -> list[tuple[str, Value]]:
        """(model, value) for the cell's models among `names`."""
        settings = cell.settings
        assert isinstance(settings, MogSettings)
        key = shared_config(settings, Evaluate).spelled
        if key not in self._truths:
            self._truths[key] = GroundTruth.of(settings)
        truth = self._truths[key]
        rows = []
        for name in names:
            if name not in cell.models:
                continue
            node = cell.models[name]
            rows += [(name, value) for value in self._score(key, truth, node)]
            if name in REFERENCES:
                values = self._of_reference(key, truth, node, settings.kl_weight)
                rows += [(name, value) for value in values]
        return rows

    def _score(self, key: str, truth: GroundTruth, node: Node) -> list[Value]:
        if (key, node.id) not in self._scores:
            self._scores[key, node.id] = truth.score(self.model(node))
        return self._scores[key, node.id]

    def _of_reference(
        self, key: str, truth: GroundTruth, node: Node, kl_weight: float
    ) -> list[Value]:
        """What the model decides as a reference, before any alignment."""
        model, place = self.model(node), (key, node.id)
        if place not in self._as_reference:
            hits = references.hit_rate(model, truth.reward)
            self._as_reference[place] = hits, references.kl_from_target(model, truth.p_target)
        if (*place, kl_weight) not in self._optima:
            best = references.optimum(model, truth.reward, truth.p_target, kl_weight)
            self._optima[*place, kl_weight] = best
        hits, kl = self._as_reference[place]
        best = self._optima[*place, kl_weight]
        return [
            _value("hit_rate", hits),
            _value("kl_penalty_at_target", kl, kl_weight),
            _value("optimum_reward", best.reward),
            _value("optimum_target_precision", best.target_precision),
        ]


def _metrics(cells: Sequence[Cell], names: Sequence[str], evaluator: Evaluator) -> pa.Table:
    return metric_rows(
        (cell.id, model, value) for cell in cells for model, value in evaluator.values(cell, names)
    )


def _curves(cells: Sequence[Cell], evaluator: Evaluator) -> pa.Table:
    """Curves of all stages that led to each cell's final model, and of p''."""
    # long columns from short ones: names are repeated as indices, which is what makes this fast
    pieces: list[tuple[int, str, str, np.ndarray, np.ndarray]] = []
    for index, cell in enumerate(cells):
        for stage, node in numbered(cell.nodes):
            pieces += [(index, stage, *curve) for curve in evaluator.curves(node)]
    return pa.table(
        {
            "cell_id": _repeat([cells[piece[0]].id for piece in pieces], pieces),
            "stage": _repeat([piece[1] for piece in pieces], pieces),
            "step": pa.array(_joined([piece[3] for piece in pieces], np.int64)),
            "metric": _repeat([piece[2] for piece in pieces], pieces),
            "value": pa.array(_joined([piece[4] for piece in pieces], np.float64)),
        }
    )


def _repeat(names: list[str], pieces: Sequence[tuple[Any, ...]]) -> pa.Array:
    """Each piece's name, once for each of its points."""
    lengths = [len(piece[3]) for piece in pieces]
    indices = pa.array(np.repeat(np.arange(len(names)), lengths))
    return pa.array(names, pa.string()).take(indices)


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.empty(0, dtype)


@lru_cache(maxsize=2)
def _shared_evaluator(location: str) -> Evaluator:
    """One for all packs that this process evaluates: their cells share most references."""
    return Evaluator(ArtifactStore(Storage(location)))


def evaluate(cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
    """All metrics and curves of finished cells."""
    evaluator = _shared_evaluator(store.storage.location)
    metrics = _metrics(cells, (*REFERENCES, "p_prime_aligned", "final"), evaluator)
    evaluation = Evaluation(metrics, _curves(cells, evaluator))
    evaluator.forget_all_but({cell.models[name].id for cell in cells for name in REFERENCES})
    return evaluation


def evaluate_references(cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
    """The metrics of p' and p'' alone."""
    return Evaluation(_metrics(cells, REFERENCES, Evaluator(store)))
