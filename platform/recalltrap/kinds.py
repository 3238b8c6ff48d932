"""What a kind of study must provide, and the graph of stages that it describes a cell with.

A kind registers under the entry point group `recalltrap.studies`; the platform knows no kind by
name. A `Node` is one execution of a stage for one seed; its identity follows from what decides
its output, so equal nodes are built once whoever asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel

from recalltrap.errors import FailureClass
from recalltrap.identity import Config, canonical_json, digest, fingerprint
from recalltrap.orderings import Ordering
from recalltrap.parts import Reads, all_settings, deciding_settings

if TYPE_CHECKING:
    from recalltrap.store import ArtifactStore


@dataclass(frozen=True)
class Node:
    """One execution of a stage for one seed.

    `config` holds the settings that the stage reads and no others. `parents[0]` is the model the
    stage starts from or learns from; an alignment's `parents[1]` is its reference. Where
    `length_field` names a field of `config`, a longer execution passes through the shorter ones,
    so nodes that differ in it alone are built by one execution.
    """

    stage: str
    seed: int
    config: Mapping[str, Any]
    parents: tuple[Node, ...] = ()
    version: int = 1
    length_field: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.config, Config):
            object.__setattr__(self, "config", Config(self.config))

    def __getstate__(self) -> dict[str, Any]:
        """Without what is long and made again at once."""
        return {name: value for name, value in self.__dict__.items() if name != "hashed"}

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the artifact."""
        return {
            "stage": self.stage,
            "seed": self.seed,
            "config": self.config,
            "parents": [parent.id for parent in self.parents],
            "version": self.version,
        }

    @cached_property
    def hashed(self) -> bytes:
        """What is hashed; kept as text in the artifact's record."""
        return canonical_json(self.identity)

    @cached_property
    def id(self) -> str:
        return digest(self.hashed)

    @cached_property
    def family(self) -> str:
        """The same for all seeds and lengths of one setting: what is built together."""
        parents = [parent.family for parent in self.parents]
        return fingerprint([self.stage, self._unending, parents, self.version])

    @cached_property
    def execution(self) -> str:
        """The same for all lengths that one execution passes through."""
        return fingerprint({**self.identity, "config": self._unending})

    @property
    def _unending(self) -> Config:
        assert isinstance(self.config, Config)
        return self.config.without(self.length_field)

    @property
    def length(self) -> int:
        return int(self.config[self.length_field]) if self.length_field else 0


def ancestry(nodes: Sequence[Node]) -> list[Node]:
    """The nodes and all they need, each once, parents before children."""
    seen: dict[str, Node] = {}

    def visit(node: Node) -> None:
        if node.id not in seen:
            for parent in node.parents:
                visit(parent)
            seen[node.id] = node

    for node in nodes:
        visit(node)
    return list(seen.values())


@dataclass(frozen=True)
class Cell:
    """One point of a study's grid with one ordering and one seed.

    `models` maps the names of the `metrics` table (`p_prime`, `p_second`, `p_prime_aligned`,
    `final`) to the nodes whose outputs they are. Where judging a model is work of its own,
    `assessments` maps the same names to the nodes that do it, once for all cells. `decides` names
    the settings that are part of the cell's identity: those that its kind reads and that aren't
    known by content. `stored_id` is what the tables of an earlier version call the cell.
    """

    kind: str
    ordering: Ordering
    seed: int
    settings: BaseModel
    models: Mapping[str, Node]
    evaluation_version: int = 1
    assessments: Mapping[str, Node] = field(default_factory=dict)
    decides: frozenset[str] | None = None
    stored_id: str | None = None

    @cached_property
    def outputs(self) -> list[Node]:
        """What must stand before the cell can be evaluated."""
        return [*self.models.values(), *self.assessments.values()]

    @cached_property
    def references(self) -> list[Node]:
        """What a forecast needs: p' and p'', and what judges them."""
        names = ("p_prime", "p_second")
        return [found[n] for found in (self.models, self.assessments) for n in names if n in found]

    @cached_property
    def factors(self) -> Config:
        """Every setting of the cell, by name: the typed columns of the tables."""
        return all_settings(self.settings)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the cell's rows."""
        return {
            "kind": self.kind,
            "ordering": [self.ordering.name, list(self.ordering.stages)],
            "seed": self.seed,
            "settings": self._deciding,
            "models": {name: node.id for name, node in self.models.items()},
            "evaluation_version": self.evaluation_version,
            **self._judges,
        }

    @cached_property
    def _deciding(self) -> Config:
        return deciding_settings(self.settings, self.decides)

    @cached_property
    def _judges(self) -> dict[str, Any]:
        if not self.assessments:
            return {}
        return {"assessments": {name: node.id for name, node in self.assessments.items()}}

    @cached_property
    def id(self) -> str:
        return self.stored_id or fingerprint(self.identity)

    @cached_property
    def setting(self) -> str:
        """The same for all seeds of one grid point and ordering."""
        seeded = ("seed", "models", "assessments")
        identity = {k: v for k, v in self.identity.items() if k not in seeded}
        families = {name: node.family for name, node in self.models.items()}
        return fingerprint([identity, families])

    @cached_property
    def nodes(self) -> list[Node]:
        return ancestry(self.outputs)


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
    """Rows for the `metrics` and `curves` tables.

    `metrics` has the columns cell_id, model, metric, value, standard_error, samples, scorer;
    `curves` has cell_id, stage, step, metric, value. The platform adds ordering, seed and factors.
    """

    metrics: pa.Table
    curves: pa.Table | None = None


@dataclass(frozen=True)
class Estimate:
    """What building one node should take, for `recalltrap plan`.

    `seconds` are one core's, `gpu_seconds` one GPU's; `gpu_decoding` is the part of those in which
    tokens are drawn one after another, which a GPU's memory bounds rather than its arithmetic.
    """

    seconds: float
    bytes: int
    flops: float = 0.0
    gpu_seconds: float = 0.0
    gpu_decoding: float = 0.0


class StudyKind(Protocol):
    """A family of studies: how a cell is made of stages, and how stages are executed.

    A kind that chooses a device may have `check_device(*, here: bool)` besides, which refuses what
    is none, and where `here`, none of this machine's: it's called before anything is built. One
    that fetches things may have `check_access(cells)`, called where this machine is to build.
    """

    name: str
    settings: type[BaseModel]
    """Flat, frozen, `extra="forbid"`; every field has a default. Grid axes are its fields."""
    studies: Path
    """Folder of the kind's named studies, one YAML file each."""
    grouped: bool
    """Whether a pack is one cell that a group of workers executes together (`recalltrap.group`),
    rather than all seeds of a setting in one process."""

    def check(self, cells: Sequence[Cell]) -> Sequence[str]:
        """Refuse what can be seen to fail before anything starts: missing files, say.

        Returns:
            What the user should know before it starts, one plain line each.

        Raises:
            InputError: naming the setting, its value and the way out.
        """
        ...

    def prepare(self) -> None:
        """Import and start what building needs: called by a process that waits for its work."""
        ...

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

    def estimate(self, node: Node) -> Estimate:
        """What building the node should take on one core, and on one GPU where it uses any."""
        ...

    def ground_truth(self, settings: BaseModel) -> dict[str, npt.NDArray[np.float64]] | None:
        """p* for drawing: `logits` [K], `means` [K, 2], `cholesky` [K, 3] and the centres of the
        targets, `targets` [T, 2]; None for a kind that can't be drawn in the plane."""
        ...

    def pack_shape(self, cell: Cell) -> str:
        """Cells with equal shapes may share a pack."""
        ...
