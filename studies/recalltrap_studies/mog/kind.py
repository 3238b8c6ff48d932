"""The kind of study: cells as graphs of stages. Light to import; the tensor program is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from recalltrap.graph import Cell, Node
from recalltrap.kind import CostEstimate, Evaluation, Progress, StudyKind
from recalltrap.orderings import NOTHING_ALIGNS, Ordering, aligns, walk
from recalltrap.settings_parts import Part, Reads, shared_config
from recalltrap_studies.devices import check_device
from recalltrap_studies.mog.settings import ALIGNMENTS, Distill, Evaluate, MogSettings, Sft

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from recalltrap.store.store import ArtifactStore

VERSIONS = {"sft": 1, "distill": 1, "ppo": 1, "grpo": 1, "dpo_online": 1, "dpo_offline": 2}
"""Bumped when the numbers of a stage, or of one way to align, change their meaning.

dpo_offline 2: the pairs are reshuffled every epoch (1 went through them in one fixed order).
"""
EVALUATION_VERSION = 2
"""2: expectations are exact (1 averaged over samples)."""

SHAPING = (
    "covariance",
    "batch_size",
    "p_prime_components",
    "student_components",
    "algorithm",
    "ppo_epochs",
    "kl_estimator",
    "offline_pairs",
)
"""Settings that rows must share to advance together."""


class MogKind(StudyKind):
    """The mixture-of-Gaussians study; implements `recalltrap.kind.StudyKind`."""

    name = "mog"
    settings: type[BaseModel] = MogSettings
    grouped = False
    studies = Path(__file__).with_name("named")

    def reads(self, settings: BaseModel, orderings: Sequence[Ordering] | None = None) -> Reads:
        """What the stages of these orderings read, and the evaluation."""
        return _reads(settings, orderings is None or any(map(aligns, orderings)))

    def cell(self, ordering: Ordering, settings: BaseModel, seed: int) -> Cell:
        """The cell's graph: p', p'' and the final model, whatever the ordering."""
        assert isinstance(settings, MogSettings)
        p_prime = Node("sft", seed, shared_config(settings, Sft), version=VERSIONS["sft"])
        models = walk(
            ordering,
            p_prime,
            distill=lambda teacher, aligned: _distill(teacher, settings),
            align=lambda start, reference: _align(start, reference, settings),
        )
        decides = self.reads(settings).fields
        return Cell(
            self.name, ordering, seed, settings, models, EVALUATION_VERSION, decides=decides
        )

    def check_device(self, *, here: bool) -> None:
        """Refuse a `RECALLTRAP_DEVICE` that isn't there."""
        check_device(here=here)

    def prepare(self) -> None:
        """Import the tensor program and start the compiler, which take seconds."""
        from recalltrap_studies.mog import evaluation, execution  # noqa: F401
        from recalltrap_studies.mog.compilation import start_compiler

        start_compiler()

    def build(self, nodes: Sequence[Node], store: ArtifactStore) -> Iterator[Progress]:
        """Execute nodes of one stage; see `StudyKind.build`."""
        from recalltrap_studies.mog.execution import build

        return build(nodes, store)

    def evaluate(self, cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
        """All metrics and curves of finished cells."""
        from recalltrap_studies.mog.evaluation import evaluate

        return evaluate(cells, store)

    def evaluate_references(self, cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
        """The metrics of p' and p'' alone."""
        from recalltrap_studies.mog.evaluation import evaluate_references

        return evaluate_references(cells, store)

    def estimate(self, node: Node) -> CostEstimate:
        """Seconds on one core from a measured rate, without compilation; bytes of the artifact."""
        config = node.config
        length = int(config[node.length_field or f"{node.stage}_iterations"])
        batch = config["batch_size"] * (2 if str(config.get("algorithm")).startswith("dpo") else 1)
        work = batch * _components(node) * config.get("ppo_epochs", 1)
        seconds = length * (ROW_SECONDS + work * SAMPLE_SECONDS)
        return CostEstimate(seconds, 900 + 60 * _components(node) + 30 * (length // 100))

    def ground_truth(self, settings: BaseModel) -> dict[str, npt.NDArray[np.float64]]:
        """p* as a mixture's `logits`, `means` and `cholesky`, and the target centres [T, 2]."""
        from recalltrap_studies.mog.ground_truth import oracle, p_star

        assert isinstance(settings, MogSettings)
        model = p_star(settings, settings)
        mixture = {"logits": model.logits, "means": model.means, "cholesky": model.cholesky}
        return {**mixture, "targets": oracle(settings).targets}

    def pack_shape(self, cell: Cell) -> str:
        """The settings that decide tensor shapes, as JSON."""
        shapes = [len(cell.factors["targets"]), *(cell.factors[name] for name in SHAPING)]
        return json.dumps(shapes)


ROW_SECONDS = 6e-6
SAMPLE_SECONDS = 1.3e-8
"""A row's iteration costs the first, and the second for each sample and component (measured in
`mog/phase` on a core of an AMD EPYC with AVX-512, compiled, the other core busy as well)."""


@lru_cache(maxsize=4096)
def _reads(settings: MogSettings, aligned: bool) -> Reads:
    parts: list[type[Part]] = [Sft, Distill, Evaluate]
    if aligned:
        parts.append(ALIGNMENTS[settings.algorithm])
    doesnt = f"{settings.algorithm} doesn't read" if aligned else f"{NOTHING_ALIGNS} reads"
    return Reads.of(
        settings,
        parts,
        also=("kl_weight",),  # the evaluation's: of the exact optimum anchored to a reference
        otherwise=dict.fromkeys(ALIGNMENTS.values(), doesnt),
    )


def _components(node: Node) -> int:
    own = node.config.get("p_prime_components") or node.config.get("student_components")
    if own:
        return int(own)
    assert node.source is not None, "a model without parents says how many components it has"
    return _components(node.source)


def _distill(teacher: Node, settings: MogSettings) -> Node:
    config = shared_config(settings, Distill)
    return Node("distill", teacher.seed, config, {"teacher": teacher}, VERSIONS["distill"])


def _align(start: Node, reference: Node, settings: MogSettings) -> Node:
    config = shared_config(settings, ALIGNMENTS[settings.algorithm])
    return Node(
        "align",
        start.seed,
        config,
        {"start": start, "reference": reference},
        VERSIONS[settings.algorithm],
        length_field="iterations",
    )


KIND = MogKind()
