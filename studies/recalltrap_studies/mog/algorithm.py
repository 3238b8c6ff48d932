"""The record of an algorithm: all that anybody but its own tensor code needs to know of it.

Fitting p', distilling and every way to align are algorithms alike. Light: the tensor code that a
record names is imported where a block starts to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel

from recalltrap.errors import InputError
from recalltrap_studies.mog.stage_settings import Optimiser
from recalltrap_studies.records import LateImport

if TYPE_CHECKING:
    from torch import Tensor

    from recalltrap_studies.mog.models import Model

Column = Callable[[str], "Tensor"]
"""A setting's name -> its values, one for each row, [R, 1]."""


class Execution(Protocol):
    """What a guard is told of a row."""

    @property
    def seed(self) -> int: ...
    @property
    def part(self) -> Optimiser: ...
    @property
    def source(self) -> Model: ...
    @property
    def held(self) -> dict[str, Model]: ...


@dataclass(frozen=True)
class Algorithm:
    """One way to fit, to distil or to align."""

    name: str
    settings: type[Optimiser]
    """The settings that it reads."""
    version: int
    """Bumped when its numbers change their meaning: the artifacts made before are left alone."""
    iteration: LateImport
    """What makes the tensor program of one iteration: a function that takes the settings of
    `shaped_by` by name and returns a `program.iteration.Iteration`."""
    measures: tuple[str, ...]
    """What each iteration adds to the record of its rows, in this order."""
    monitored: tuple[str, ...] = ()
    """What is measured besides on fresh samples, where the iterations draw none of the policy's."""
    shaped_by: tuple[str, ...] = ()
    """Settings of its own that decide the program, so that rows must share them. The others are
    tensors with one entry a row."""
    columns: tuple[str, ...] = ()
    """Settings of its own that the program reads row by row."""
    paired: bool = False
    """Whether an iteration's batch is of pairs of samples."""
    chosen_only: bool = False
    """Whether of each pair the preferred sample alone is learned."""
    epochs: str | None = None
    """The setting that says how many updates are made on each batch; None: one."""
    pair_set: str | None = None
    """The setting that says how many pairs are drawn once and for all; None: each batch is new."""
    carried: int = 0
    """Numbers of its own that a row carries from one iteration to the next."""
    reference_passes: float = 0.0
    """Densities of each sample under the reference, in units of an update's work: one without its
    gradient is half an update."""
    holds: tuple[str, ...] = ()
    """Further parents whose models the program has beside its source, by their names. A model goes
    on from the one called `start`."""
    source_nodes: bool = False
    """Whether every iteration takes an expectation at the nodes of its source."""
    own_nodes: bool = False
    """Whether every iteration takes an expectation at the nodes of the model that learns."""
    guard: LateImport | None = None
    """`guard(row, curve)` says what went wrong with a finished row whose numbers are finite, or
    None; such a row fails alone."""
    prepare_source: Callable[[Tensor, Column], Tensor] | None = None
    """What becomes of the parameters [R, P, K] of the source before it is sampled."""

    def updates(self, part: BaseModel) -> int:
        """Updates on each batch."""
        return int(getattr(part, self.epochs)) if self.epochs else 1

    def pairs(self, part: BaseModel) -> int:
        """Size of the fixed set of pairs; 0 where there is none."""
        return int(getattr(part, self.pair_set)) if self.pair_set else 0

    @property
    def samples_each(self) -> int:
        """Samples in one element of a batch."""
        return 2 if self.paired else 1

    def shape(self, part: BaseModel) -> tuple[tuple[str, object], ...]:
        """What `iteration` is called with, and what rows share."""
        return tuple((name, getattr(part, name)) for name in self.shaped_by)

    def check(self, settings: type[BaseModel]) -> None:
        """Refuse an incomplete record before anything is built with it.

        Raises:
            InputError: naming the algorithm and what is missing or wrong.
        """
        wrong = list(self._wrong(settings))
        if wrong:
            raise InputError(
                f"the algorithm {self.name!r} can't run, its record is incomplete: "
                f"{'; '.join(wrong)}. Complete the record, or choose another algorithm"
            )

    def _wrong(self, settings: type[BaseModel]) -> Iterator[str]:
        for name in ("name", "version"):
            if not getattr(self, name):
                yield f"it has no {name}"
        if not self.measures:
            yield "it measures nothing"
        for late in (self.iteration, self.guard):
            if late and (absent := late.lacks()):
                yield absent
        own = self.settings.model_fields
        named = {*self.shaped_by, *self.columns, self.epochs, self.pair_set} - {None}
        if unknown := sorted(str(name) for name in named if name not in own):
            yield f"{self.settings.__name__} has no setting {' or '.join(unknown)}"
        if self.pair_set and not self.paired:
            yield "it has a fixed set of pairs and isn't paired"
        for name, info in own.items():
            composed = settings.model_fields.get(name)
            if composed is None:
                yield f"its setting {name} came too late to be one of the study's"
            elif not info.is_required() and composed.default != info.default:
                yield f"another part gives its setting {name} the default {composed.default!r}"
