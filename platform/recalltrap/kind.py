"""What a kind of study must provide.

A kind registers under the entry point group `recalltrap.studies`; the platform knows no kind by
name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel

from recalltrap.errors import FailureClass
from recalltrap.graph import Cell, Node
from recalltrap.orderings import Ordering
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
    """Whether a pack is one cell that a group of workers executes together
    (`recalltrap.run.worker_group`), rather than all seeds of a setting in one process."""

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
