"""A study: one question as a YAML file, checked in full before anything starts."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from recalltrap.errors import InputError, nearest
from recalltrap.kinds import Cell, StudyKind
from recalltrap.orderings import Ordering
from recalltrap.registry import find_kind, kind_names
from recalltrap.sharing import Sharing
from recalltrap.source import Location, Source

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
CLAIMS = tuple(f"C{number}" for number in range(1, 15))


def _seed_list(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"a study needs at least one seed, not {value}")
        return tuple(range(value))
    return value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    seen: list[Any] = []
    for value in values:
        if value in seen:
            raise ValueError(f"{value!r} stands there twice: remove one")
        seen.append(value)
    return values


def _axis_values(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("the axis has no values: give some, or remove it")
    return _distinct(values)


class Resources(BaseModel):
    """What one trial asks of Ray, and how its processes share the work; never an identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus_per_trial: int = Field(default=1, ge=1, description="CPU cores of each worker")
    gpus_per_trial: float = Field(
        default=0, ge=0, description="GPUs of each worker, fractions allowed"
    )
    workers: int = Field(
        default=1, ge=1, description="processes that train together (language models)"
    )
    zero_stage: Literal[1, 2, 3] | None = Field(
        default=None, description="ZeRO stage of DeepSpeed; without one, plain data parallelism"
    )
    gradient_accumulation: int = Field(
        default=1, ge=1, description="parts that a worker computes an update's gradient in"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="compute activations twice, to hold fewer of them"
    )
    checkpoint_updates: int = Field(
        default=500, ge=0, description="updates between checkpoints inside a stage; 0: none"
    )
    max_retries: int = Field(
        default=1, ge=0, description="how often a pack whose worker died is retried"
    )


GROUP_FIELDS = (
    "workers", "zero_stage", "gradient_accumulation", "gradient_checkpointing",
    "checkpoint_updates",
)  # fmt: skip
"""Fields of `Resources` that only kinds read whose packs a group of workers executes."""


class Study(BaseModel):
    """One question: orderings × grid × seeds, the settings they share, the claims they test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="names the results' folder under the storage, e.g. mog/ppo-beta")
    kind: str = Field(description="the kind of study, an installed entry point, e.g. mog")
    question: str = Field(min_length=1, description="shown at the top of the report")
    orderings: tuple[Ordering, ...] = Field(min_length=1)
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, strict=True)], ...],
        BeforeValidator(_seed_list),
        AfterValidator(_distinct),
    ] = Field(min_length=1, description="a number n for 0..n-1, or a list")
    grid: dict[str, Annotated[tuple[Any, ...], AfterValidator(_axis_values)]] = Field(
        default_factory=dict, description="axis → values; every axis is a field of the settings"
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="the kind's settings, where they differ from its defaults"
    )
    claims: tuple[str, ...] = Field(default=(), description="ids of the claims that it tests")
    resources: Resources = Resources()

    @field_validator("name")
    @classmethod
    def _name_stays_inside_the_storage(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError(
                f"{value!r} can't name a folder of results: use letters, digits, '.', '_', '-' and "
                "'/' between parts, each part beginning with a letter or digit"
            )
        return value

    @field_validator("kind")
    @classmethod
    def _kind_is_installed(cls, value: str) -> str:
        if value not in kind_names():
            raise ValueError(f"unknown kind {value!r}; {nearest(value, kind_names())}")
        return value

    @field_validator("claims")
    @classmethod
    def _claims_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for claim in value:
            if claim not in CLAIMS:
                raise ValueError(f"unknown claim {claim!r}; the ledger has C1 to {CLAIMS[-1]}")
        return value

    @field_validator("orderings")
    @classmethod
    def _names_differ(cls, value: tuple[Ordering, ...]) -> tuple[Ordering, ...]:
        _distinct(tuple(ordering.name for ordering in value))
        return value

    @model_validator(mode="after")
    def _no_axis_is_a_setting_too(self) -> Study:
        for axis in self.grid:
            if axis in self.settings:
                raise ValueError(f"{axis!r} stands both in grid and in settings: keep one")
        return self

    @property
    def axes(self) -> tuple[str, ...]:
        """The grid's axes, in the file's order."""
        return tuple(self.grid)

    def points(self) -> Iterator[dict[str, Any]]:
        """The grid's points, the last axis fastest."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    @property
    def size(self) -> int:
        """How many cells the study has."""
        points = math.prod(len(values) for values in self.grid.values())
        return points * len(self.orderings) * len(self.seeds)

    def cells(self) -> list[Cell]:
        """Every cell of the study, seeds fastest.

        Raises:
            InputError: two cells that are the same (two spellings of one value, say).
        """
        known: dict[str, Cell] = {}
        for cell in self._cells:
            if (other := known.setdefault(cell.id, cell)) is not cell:
                raise InputError(f"study {self.name}: {_alike(cell, other, self.axes)}")
        return list(self._cells)

    def cells_as_written(self) -> list[Cell]:
        """Every cell, also where an earlier version took two for different that are the same."""
        return list(self._cells)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, perhaps with other fields: it makes its own cells."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_cells", None)
        return copied

    @cached_property
    def _cells(self) -> tuple[Cell, ...]:
        kind = find_kind(self.kind)
        cells: list[Cell] = []
        sharing = Sharing()
        for point in self.points():
            settings = kind.settings.model_validate({**self.settings, **point})
            for ordering in self.orderings:
                cells += [sharing.cell(kind.cell(ordering, settings, n)) for n in self.seeds]
        return tuple(cells)


def _alike(cell: Cell, other: Cell, axes: Sequence[str]) -> str:
    """Why two cells are one, and the way out."""
    reads = find_kind(cell.kind).reads(cell.settings)
    differing = [axis for axis in axes if cell.factors[axis] != other.factors[axis]]
    what = f"{cell.ordering.name}, seed {cell.seed}"
    point = {axis: cell.factors[axis] for axis in axes}
    for axis in differing:
        if axis in reads.unread:
            return (
                f"{reads.unread[axis]}, so that {what} would run several times at {point}: keep "
                f"one value of {axis}, or give what reads it a study of its own"
            )
    return f"the cell {what}, {point} stands in the grid twice: remove one of the equal values"


def parse_study(content: Mapping[str, Any], source: Source) -> Study:
    """A study whose settings and grid are not checked against its kind yet.

    Raises:
        InputError: naming the file, the line, the field, the value and the way out.
    """
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise source.refuse(error, Study) from None


def check_study(content: Mapping[str, Any], source: Source) -> Study:
    """A study from a YAML file's content, with every setting and every grid point checked.

    Raises:
        InputError: naming the file, the line, the field, the value and the way out.
    """
    study = parse_study(content, source)
    kind = find_kind(study.kind)
    _check_names(study, kind, source)
    _check_workers(study, kind, source)
    _check_finite(study.settings, ("settings",), source)
    _check_finite(study.grid, ("grid",), source)
    try:
        kind.settings.model_validate(study.settings)
    except ValidationError as error:
        # What spans several fields is judged at the grid's points, where the axes have values.
        if any(item["loc"] for item in error.errors()):
            raise source.refuse(error, kind.settings, ("settings",)) from None
    for axis, values in study.grid.items():
        for index, value in enumerate(values):
            _check_value(kind, axis, index, value, source)
    for point in study.points():
        try:
            kind.settings.model_validate({**study.settings, **point})
        except ValidationError as error:
            where = f"at the grid point {point}" if point else ""
            raise source.refuse(error, kind.settings, ("settings",), where) from None
    if unread := unread_setting(study):
        section, name, why = unread
        raise InputError(f"{source.where((section, name))}: {section}.{name}: {why}. Remove it")
    try:
        study.cells()
    except InputError as error:
        raise InputError(f"{source.where(('grid',))}: {error}") from None
    return study


def unread_setting(study: Study) -> tuple[str, str, str] | None:
    """The first setting or axis that decides nothing in any cell: section, name and reason."""
    kind = find_kind(study.kind)
    where = dict.fromkeys(study.grid, "grid") | dict.fromkeys(study.settings, "settings")
    reasons: dict[str, str] = {}
    for point in study.points():
        settings = kind.settings.model_validate({**study.settings, **point})
        reads = kind.reads(settings, study.orderings)
        for name in reads.fields & where.keys():
            del where[name]
        if not where:
            return None
        reasons |= {name: reads.unread[name] for name in where if name not in reasons}
    name = next(iter(where))
    return where[name], name, reasons[name]


def _check_names(study: Study, kind: StudyKind, source: Source) -> None:
    fields = kind.settings.model_fields
    for section, names in (("settings", study.settings), ("grid", study.grid)):
        for name in names:
            if name not in fields:
                raise InputError(
                    f"{source.where((section, name))}: {name!r} is not a setting of the kind "
                    f"{kind.name!r}; {nearest(name, fields)}"
                )


def _check_workers(study: Study, kind: StudyKind, source: Source) -> None:
    """Refuse what only a group of workers reads where a pack is one process."""
    for name in GROUP_FIELDS if not kind.grouped else ():
        value = getattr(study.resources, name)
        if value != Resources.model_fields[name].default:
            raise InputError(
                f"{source.where(('resources', name))}: resources.{name} = {value!r}: a trial of "
                f"the kind {kind.name!r} is one process, and nothing would read it; remove it"
            )


def _check_finite(value: Any, location: Location, source: Source) -> None:
    """Refuse NaN and infinities: they have no stable form to hash."""
    if isinstance(value, float) and not math.isfinite(value):
        name = ".".join(str(part) for part in location)
        raise InputError(f"{source.where(location)}: {name}: {value!r} is not a finite number")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_finite(item, (*location, key), source)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            _check_finite(item, (*location, index), source)


def _check_value(kind: StudyKind, axis: str, index: int, value: Any, source: Source) -> None:
    """Refuse an axis value that is wrong in itself, at its own line."""
    try:
        kind.settings.model_validate({axis: value})
    except ValidationError as error:
        own = [item for item in error.errors() if item["loc"][:1] == (axis,)]
        if own:
            raise InputError(
                f"{source.where(('grid', axis, index))}: grid.{axis} = {value!r}: "
                f"{own[0]['msg'].removeprefix('Value error, ')}"
            ) from None
