"""The kind of study: cells as graphs of stages. Light to import; torch comes when it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from recalltrap.graph import Cell, Node
from recalltrap.kind import CostEstimate, Evaluation, ExportedModel, Progress, StudyKind
from recalltrap.orderings import Operations, Ordering
from recalltrap.resources import Resources
from recalltrap.settings_parts import Reads
from recalltrap_studies.devices import check_device, device_memory
from recalltrap_studies.llm.cost_estimates import memory
from recalltrap_studies.llm.distillation.registry import DISTILLATIONS
from recalltrap_studies.llm.graph import Graph
from recalltrap_studies.llm.metrics.names import METRICS
from recalltrap_studies.llm.reads import reads_of
from recalltrap_studies.llm.resources import LlmResources
from recalltrap_studies.llm.roles import MODEL_FIELDS
from recalltrap_studies.llm.settings import LlmSettings
from recalltrap_studies.llm.stages.registry import STAGES

if TYPE_CHECKING:
    from recalltrap.store.store import ArtifactStore

EVALUATION_VERSION = 1
BY_CONTENT = frozenset(
    {*MODEL_FIELDS, "corpus", "prompts", "preferences", "truth", "reward", "scorers"}
)
"""Settings that may name a folder, a file or a function: stages know what is in it, and not where
it lies."""


class LlmKind(StudyKind):
    """The language-model study; implements `recalltrap.kind.StudyKind`."""

    name = "llm"
    settings: type[BaseModel] = LlmSettings
    resources: type[Resources] = LlmResources
    metrics = METRICS
    studies = Path(__file__).with_name("named")
    template = Path(__file__).with_name("new.yaml")
    distillations = tuple(DISTILLATIONS)
    after_align = tuple(record.name for record in DISTILLATIONS.values() if record.after_align)
    grouped = True

    def check(self, cells: Sequence[Cell]) -> Sequence[str]:
        """Refuse missing folders, strangers' vocabularies, prompts longer than the context.

        Says which models are given with weights that aren't used.
        """
        from recalltrap_studies.llm.first_look import check_files

        distinct = list(dict.fromkeys(cell.settings for cell in cells))
        for settings in distinct:
            assert isinstance(settings, LlmSettings)
            check_files(settings)
        from recalltrap_studies.llm.preflight import check_sources

        notes: list[str] = []
        for settings in distinct:
            assert isinstance(settings, LlmSettings)
            notes += check_sources(settings)
        return list(dict.fromkeys(notes))

    def reads(self, settings: BaseModel, orderings: Sequence[Ordering] | None = None) -> Reads:
        """What the stages of these orderings read, and the evaluation."""
        assert isinstance(settings, LlmSettings)
        return reads_of(settings, Operations.of(orderings))

    def check_device(self, *, here: bool) -> None:
        """Refuse a `RECALLTRAP_DEVICE` that isn't there."""
        check_device(here=here)

    def check_access(self, cells: Sequence[Cell]) -> None:
        """Refuse models of the hub that can't be had from here."""
        from recalltrap_studies.llm.preflight import check_access

        for settings in dict.fromkeys(cell.settings for cell in cells):
            assert isinstance(settings, LlmSettings)
            check_access(settings)

    def cell(self, ordering: Ordering, settings: BaseModel, seed: int) -> Cell:
        """The cell's graph: p', p'' and the final model, and what judges each of them."""
        assert isinstance(settings, LlmSettings)
        graph = Graph(settings, seed)
        models = graph.models(ordering)
        assessments = {name: graph.assess(model) for name, model in models.items()}
        decides = self.reads(settings).fields - BY_CONTENT
        if settings.last_distill_temperature == settings.distill_temperature:
            decides -= {"last_distill_temperature"}  # as if it weren't given
        return Cell(
            self.name, ordering, seed, settings, models, EVALUATION_VERSION, assessments, decides
        )

    def prepare(self) -> None:
        """Import what stages are executed with."""
        from recalltrap_studies.llm.stages import execution  # noqa: F401

    def build(self, nodes: Sequence[Node], store: ArtifactStore) -> Iterator[Progress]:
        """Execute nodes of one stage; see `StudyKind.build`."""
        from recalltrap_studies.llm.stages.execution import build

        return build(nodes, store)

    def evaluate(self, cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
        """All metrics and curves of finished cells."""
        from recalltrap_studies.llm.metrics.evaluation import evaluate

        return evaluate(cells, store)

    def evaluate_references(self, cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
        """The metrics of p' and p'' alone."""
        from recalltrap_studies.llm.metrics.evaluation import evaluate_references

        return evaluate_references(cells, store)

    def export(self, node: Node, store: ArtifactStore, folder: Path) -> ExportedModel:
        """Write a model in the hub's format."""
        from recalltrap_studies.llm.export import export_model

        return export_model(node, store, folder)

    def estimate(self, node: Node) -> CostEstimate:
        """Seconds on one core, from the floating point operations and a measured rate; bytes."""
        return STAGES[node.stage].estimate(node)

    def memory(self, node: Node, resources: Resources) -> Mapping[str, float]:
        """Bytes that a worker needs at once, by what they are for."""
        return memory(node, LlmResources.model_validate(resources.model_dump()))

    def device_memory(self, resources: Resources) -> float | None:
        """Of the GPU that a worker gets here, or its share of the machine's memory."""
        return device_memory(resources.gpus_per_trial, resources.workers)

    def pack_shape(self, cell: Cell) -> str:
        """A pack is one cell: nothing is shared."""
        return cell.id


KIND = LlmKind()
