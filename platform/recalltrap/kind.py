"""What a kind of study must provide.

A kind registers under the entry point group `recalltrap.studies`; the platform knows no kind by
name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
from pydantic import BaseModel

from recalltrap.errors import FailureClass, InputError
from recalltrap.graph import Cell, Node
from recalltrap.orderings import Ordering
from recalltrap.resources import Resources
from recalltrap.settings_parts import Reads

if TYPE_CHECKING:
    from recalltrap.store.store import ArtifactStore


@dataclass(frozen=True)
class NodeFailure:
    """A stage execution that failed while others of its batch went on."""

    node: Node
    failure: FailureClass
    message: str


@dataclass(frozen=True)
class Progress:
    """What a running batch reports after each chunk of iterations.

    `metrics` are means and standard deviations over the batch's rows, for Tune's own results.
    """

    stage: str
    step: int
    steps: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    failures: tuple[NodeFailure, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """Rows for the `metrics`, `curves` and `responses` tables.

    `metrics` has the columns cell_id, model, metric, value, standard_error, samples, scorer;
    `curves` has cell_id, stage, step, metric, value; `responses` those of its schema but ordering
    and seed. The platform adds ordering, seed and, to the metrics, factors.
    """

    metrics: pa.Table
    curves: pa.Table | None = None
    responses: pa.Table | None = None


@dataclass(frozen=True)
class CostEstimate:
    """What building one node should take, for `recalltrap plan`.

    `seconds` are one core's, `gpu_seconds` one GPU's; `gpu_decoding` is the part of those in which
    tokens are drawn one after another, which a GPU's memory bounds rather than its arithmetic.
    """

    seconds: float
    bytes: int
    flops: float = 0.0
    gpu_seconds: float = 0.0
    gpu_decoding: float = 0.0


@dataclass(frozen=True)
class Metric:
    """What a metric of the `metrics` table is called where people read it."""

    title: str
    unit: str = ""

    @property
    def label(self) -> str:
        """Title and unit, for an axis or a table's head."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


METRICS: Mapping[str, Metric] = {
    "reward": Metric("reward"),
    "reward_sd": Metric("standard deviation of the reward"),
    "target_precision": Metric("target precision", "nats"),
    "overall_recall": Metric("overall recall", "nats"),
    "overall_precision": Metric("overall precision", "nats"),
    "hit_rate": Metric("hit rate"),
    "kl_penalty_at_target": Metric("KL penalty at the target", "nats"),
    "optimum_reward": Metric("reward of the optimum"),
    "optimum_target_precision": Metric("target precision of the optimum", "nats"),
    "score": Metric("score"),
    "score_sd": Metric("standard deviation of the score"),
}
"""The metrics that every kind has; `reward_sd` where the reward isn't known by a supremum, and of
p' then the unit that rewards are compared in; `score` and `score_sd` of each scorer that
nothing was optimised for."""


CURVES: Mapping[str, Metric] = {
    "reward": Metric("mean reward of the policy's samples"),
    "reward_sd": Metric("standard deviation of the reward"),
    "chosen_reward": Metric("mean reward of chosen answers"),
    "rejected_reward": Metric("mean reward of rejected answers"),
    "reward_margin": Metric("reward margin, chosen minus rejected"),
    "accuracy": Metric("accuracy on fresh pairs"),
    "gradient_weight": Metric("weight of DPO's gradient, mean σ(−z)"),
}
"""The curves of an alignment that a report draws, of those that have them: what a checkpoint is
chosen by, as in the paper's figure 13 (the first two) and figure 14 (the others but the last), and
what is left of DPO's loss."""

CURVE_ENDS: Mapping[str, Metric] = {
    "reference_kl": Metric("KL to the reference", "nats"),
    "kl": Metric("KL to the reference", "nats"),
    "preference_margin": Metric("mean z"),
    "reward_margin": Metric("mean z"),
    "gradient_weight": Metric("mean σ(−z)"),
}
"""The curves whose first and last values say where an alignment began and ended. Of those of one
title a report takes the first that was recorded: an exact value before a sampled one."""


def metric_of(metrics: Mapping[str, Metric], name: str) -> Metric:
    """What a metric is called; `share/x` by the entry `share/*`, a stranger by its own name."""
    if name in metrics:
        return metrics[name]
    family, _, member = name.partition("/")
    if member and (known := metrics.get(f"{family}/*")):
        return Metric(f"{known.title}: {member}", known.unit)
    return Metric(name)


@dataclass(frozen=True)
class ExportedModel:
    """What a kind says of a model that it wrote for others to load."""

    header: Mapping[str, str]
    """Lines of the hub's model card that programs read: `library_name` and so on."""
    use: str
    """How to load it, in Markdown."""


class StudyKind(Protocol):
    """A family of studies: how a cell is made of stages, and how stages are executed.

    A kind that is a subclass has the defaults of what it leaves out.
    """

    name: str
    settings: type[BaseModel]
    """Flat, frozen, `extra="forbid"`; every field has a default. Grid axes are its fields."""
    studies: Path
    """Folder of the kind's named studies, one YAML file each."""
    resources: type[Resources] = Resources
    """What a trial of the kind can ask for: the platform's fields, and its own."""
    template: Path | None = None
    """A commented study file to start one's own from, with `{name}` for its name."""
    metrics: Mapping[str, Metric] = METRICS
    """What its metrics are called, in the order in which a report shows them."""
    distillations: Sequence[str] = ()
    """What a step of an ordering may distil by, `{distill: NAME}`; none where there is one way."""
    after_align: Sequence[str] = ()
    """Those among them whose teacher must just have been aligned: steps that follow an `align`."""
    grouped: bool
    """Whether a pack is one cell that a group of workers executes together
    (`recalltrap.run.worker_group`), rather than all seeds of a setting in one process."""

    def check(self, cells: Sequence[Cell]) -> Sequence[str]:
        """Refuse what can be seen to fail before anything starts: missing files, say.

        Returns:
            What the user should know before it starts, one plain line each.

        Raises:
            InputError: naming the setting, its value and the way out.
        """
        return ()

    def check_device(self, *, here: bool) -> None:
        """Refuse a device that is none, and where `here`, none of this machine's.

        Called before anything is built.
        """
        return

    def check_access(self, cells: Sequence[Cell]) -> None:
        """Refuse what can't be fetched from here: called where this machine is to build."""
        return

    def prepare(self) -> None:
        """Import and start what building needs: called by a process that waits for its work."""
        return

    def reads(self, settings: BaseModel, orderings: Sequence[Ordering] | None = None) -> Reads:
        """Which settings decide anything: those that stages or the evaluation read.

        Of cells with one of these orderings; None: whatever the ordering. Every field that stands
        in no `Reads.fields` is refused where a study sets it.
        """
        ...

    def cell(self, ordering: Ordering, settings: BaseModel, seed: int) -> Cell:
        """The cell's graph of stages. Pure and fast: it is called for every cell of a plan."""
        ...

    def build(self, nodes: Sequence[Node], store: ArtifactStore) -> Iterator[Progress]:
        """Execute nodes of one stage and put their artifacts into the store.

        Their parents stand in the store already. Nodes may differ in seed, length and every
        setting; the kind advances together what can. Yields after every chunk of iterations.
        A row that fails alone is reported in `Progress.failures`; raising fails the whole batch.
        """
        ...

    def evaluate(self, cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
        """All metrics and curves of finished cells."""
        ...

    def evaluate_references(self, cells: Sequence[Cell], store: ArtifactStore) -> Evaluation:
        """The metrics that need only p' and p'': what a forecast reads, before any alignment."""
        ...

    def export(self, node: Node, store: ArtifactStore, folder: Path) -> ExportedModel:
        """Write a model of the store into an empty folder, as the libraries of its field load it.

        Raises:
            InputError: models of this kind have no such format; says where they stand instead.
        """
        raise InputError(
            f"a model of the kind {self.name!r} has no format that other libraries load; its own "
            f"files stand in {store.storage.display(store.folder(node))}"
        )

    def estimate(self, node: Node) -> CostEstimate:
        """What building the node should take on one core, and on one GPU where it uses any."""
        ...

    def memory(self, node: Node, resources: Resources) -> Mapping[str, float]:
        """Bytes that a process needs at once to build the node, by what they are for.

        Of a worker where there are several; nothing where it is never much.
        """
        return {}

    def device_memory(self, resources: Resources) -> float | None:
        """Bytes that this machine has for such a process; None where that isn't known."""
        return None

    def pack_shape(self, cell: Cell) -> str:
        """Cells with equal shapes may share a pack."""
        ...
