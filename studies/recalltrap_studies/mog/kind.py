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
from recalltrap.orderings import NOTHING_ALIGNS, Operations, Ordering
from recalltrap.settings_parts import Part, Reads
from recalltrap_studies.devices import check_device
from recalltrap_studies.last_start import LAST_START_UNREAD, LastStart
from recalltrap_studies.mog.alignment.registry import ALGORITHMS
from recalltrap_studies.mog.costs import estimate
from recalltrap_studies.mog.distillation.registry import (
    AFTER_ALIGN,
    DISTILLATIONS,
    NAMES,
    SETTING,
    distillations_of,
)
from recalltrap_studies.mog.graph import Graph
from recalltrap_studies.mog.ground_truth import p_star, reward_function
from recalltrap_studies.mog.settings import MogSettings
from recalltrap_studies.mog.stage_settings import Evaluate
from recalltrap_studies.mog.stages import SAMPLED_TRUTH, STAGES
from recalltrap_studies.rate_factors import FACTORS_UNREAD, factors_read

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from recalltrap.store.store import ArtifactStore

EVALUATION_VERSION = 2
"""2: expectations are exact (1 averaged over samples)."""


class MogKind(StudyKind):
    """The mixture-of-Gaussians study; implements `recalltrap.kind.StudyKind`."""

    name = "mog"
    settings: type[BaseModel] = MogSettings
    grouped = False
    seeds_alike = True
    studies = Path(__file__).with_name("named")
    template = Path(__file__).with_name("new.yaml")
    distillations = NAMES
    after_align = AFTER_ALIGN

    def reads(self, settings: BaseModel, orderings: Sequence[Ordering] | None = None) -> Reads:
        """What the stages of these orderings read, and the evaluation."""
        assert isinstance(settings, MogSettings)
        return _reads(settings, Operations.of(orderings))

    def cell(self, ordering: Ordering, settings: BaseModel, seed: int) -> Cell:
        """The cell's graph: p', p'' and the final model, whatever the ordering."""
        assert isinstance(settings, MogSettings)
        models = Graph(settings, seed).models(ordering)
        decides = self.reads(settings).fields
        if settings.last_teacher_sharpness == settings.teacher_sharpness:
            decides -= {"last_teacher_sharpness"}  # as if it weren't given
        return Cell(
            self.name, ordering, seed, settings, models, EVALUATION_VERSION, decides=decides
        )

    def check_device(self, *, here: bool) -> None:
        """Refuse a `RECALLTRAP_DEVICE` that isn't there."""
        check_device(here=here)

    def prepare(self) -> None:
        """Import the tensor program and start the compiler, which take seconds."""
        from recalltrap_studies.mog import evaluation, execution  # noqa: F401
        from recalltrap_studies.mog.program.compilation import start_compiler

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
        """Seconds on one core, and bytes of the artifact."""
        return estimate(node)

    def ground_truth(self, settings: BaseModel) -> dict[str, npt.NDArray[np.float64]]:
        """p* as a mixture's `logits`, `means` and `cholesky`, and the target centres [T, 2]."""
        assert isinstance(settings, MogSettings)
        model = p_star(settings, settings)
        mixture = {"logits": model.logits, "means": model.means, "cholesky": model.cholesky}
        return {**mixture, "targets": reward_function(settings).targets}

    def pack_shape(self, cell: Cell) -> str:
        """The settings that decide tensor shapes, as JSON."""
        shapes = [len(cell.factors["targets"]), *(cell.factors[name] for name in shaping())]
        return json.dumps(shapes)


@lru_cache(maxsize=1)
def shaping() -> tuple[str, ...]:
    """Settings that rows must share to advance together."""
    sizes = [stage.components for stage in STAGES.values() if stage.components]
    records = (*DISTILLATIONS.values(), *ALGORITHMS.values())
    own = [name for algorithm in records for name in algorithm.shaped_by]
    return ("covariance", "batch_size", *sizes, "algorithm", SETTING, *own)


@lru_cache(maxsize=4096)
def _reads(settings: MogSettings, operations: Operations) -> Reads:
    names = dict.fromkeys([settings.distillation, *sorted(operations.distillations)])
    algorithms = [SAMPLED_TRUTH, *(one for name in names for one in distillations_of(name))]
    if operations.aligns:
        algorithms.append(ALGORITHMS[settings.algorithm])
    for algorithm in algorithms:
        algorithm.check(MogSettings)
    doesnt = (
        f"{settings.algorithm} doesn't read" if operations.aligns else f"{NOTHING_ALIGNS} reads"
    )
    also = {"kl_weight", SETTING}  # the first: of the exact optimum anchored to a reference
    last = {name or settings.distillation for name in operations.distils_aligned_by}
    begin = [LastStart] if any(not distillations_of(name)[0].goes_on for name in last) else []
    if any(record.sharpens for name in last for record in distillations_of(name)):
        also.add("last_teacher_sharpness")
    unread: dict[type[Part], str] = {a.settings: doesnt for a in ALGORITHMS.values()}
    for record in DISTILLATIONS.values():
        unread[record.settings] = f"none of {', '.join(names)} reads"
    return Reads.of(
        settings,
        [*(a.settings for a in algorithms), Evaluate, *begin, *factors_read(operations)],
        also=also,
        otherwise={**unread, **FACTORS_UNREAD, LastStart: LAST_START_UNREAD},
    )


KIND = MogKind()
