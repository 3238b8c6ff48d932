"""A study: one question as a YAML file, checked in full before anything starts."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from recalltrap.errors import InputError, nearest, shown
from recalltrap.garbage import uncollected
from recalltrap.graph import Cell
from recalltrap.orderings import Ordering
from recalltrap.registry import claim_ids, find_kind, kind_names
from recalltrap.resources import Resources
from recalltrap.study.looks import MAX_CELLS, look_list, seed_list, spell_seeds
from recalltrap.study.primary import Contrast, Primary, check_orderings, contrast_list
from recalltrap.study.python_values import plain_value
from recalltrap.study.shared_nodes import Sharing
from recalltrap.study.study_file import Source
from recalltrap.study.yaml_text import spell_yaml

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
MAX_PARTS, MAX_PART = 5, 100
"""Of a study's name, whose parts are folders: file systems take 255 letters each."""
END_OF_SEEDS = 2**63
"""The tables' seeds are 64-bit integers."""


def check_name(name: str) -> None:
    """Refuse a study's name that can't be a folder's inside a storage.

    Raises:
        ValueError: says what names may be.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{shown(name)} can't name a folder of results: use letters, digits, '.', '_', "
            "'-' and '/' between parts, each part beginning with a letter or digit"
        )
    parts = name.split("/")
    if len(parts) > MAX_PARTS or max(map(len, parts)) > MAX_PART:
        raise ValueError(
            f"{shown(name)} can't name a folder of results: at most {MAX_PARTS} parts with "
            f"'/' between them, of at most {MAX_PART} letters each"
        )


def _axis(value: Any) -> Any:
    """A list as the tuple that pydantic's strict mode wants of Python's values."""
    value = plain_value(value)
    return tuple(value) if isinstance(value, list) else value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    seen: set[Any] = set()
    for value in values:
        if (frozen := _frozen(value)) in seen:
            raise ValueError(f"{shown(value)} is listed twice: remove one")
        seen.add(frozen)
    return values


def _frozen(value: Any) -> Any:
    """A value that hashes, equal for equal values."""
    if isinstance(value, Mapping):
        return frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return (bool, value) if isinstance(value, bool) else value  # True is no 1


def _axis_values(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("the axis has no values: give some, or remove it")
    return _distinct(values)


def _of_the_kind(value: Any, info: ValidationInfo) -> Any:
    """Resources with the fields that the study's kind has."""
    if isinstance(value, Resources) or "kind" not in info.data:
        return value
    return find_kind(info.data["kind"]).resources.model_validate(value)


class Study(BaseModel):
    """One question: orderings × grid × seeds, the settings they share, the claims they test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="names the results' folder under the storage, e.g. mog/ppo-beta")
    kind: str = Field(description="the kind of study, an installed entry point, e.g. mog")
    question: str = Field(
        min_length=1, max_length=2000, description="shown at the top of the report"
    )
    orderings: tuple[Ordering, ...] = Field(min_length=1)
    # Before `seeds`, which is read from the same value: what is wrong in it is said of its place.
    looks: Annotated[tuple[int, ...], BeforeValidator(look_list)] = Field(
        default=(),
        validation_alias=AliasPath("seeds", "looks"),
        exclude=True,
        description="numbers of seeds at which the primary is judged",
    )
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=END_OF_SEEDS, strict=True)], ...],
        BeforeValidator(seed_list),
        AfterValidator(_distinct),
    ] = Field(
        min_length=1,
        description="a number n for 0..n-1, a list, or {looks: [5, 8, 12]}: until it is decided",
    )
    grid: dict[
        str,
        Annotated[
            tuple[Any, ...],
            BeforeValidator(_axis),
            AfterValidator(_axis_values),
        ],
    ] = Field(
        default_factory=dict, description="axis → values; every axis is a field of the settings"
    )
    settings: Annotated[dict[str, Any], BeforeValidator(plain_value)] = Field(
        default_factory=dict, description="the kind's settings, where they differ from its defaults"
    )
    claims: tuple[str, ...] = Field(default=(), description="ids of the claims that it tests")
    primary: Primary | None = Field(
        default=None,
        description="the comparison that the study is to decide; null: A-K against K-A at the mean "
        "over the KL weights, where both are there",
    )
    contrasts: (
        Annotated[
            tuple[Contrast, ...],
            Field(min_length=1),
            BeforeValidator(contrast_list),
            AfterValidator(_distinct),
        ]
        | None
    ) = Field(
        default=None,
        description="pairs of orderings to compare; null: every one that aligns against K-A",
    )
    margin: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        strict=True,
        description="the largest difference that doesn't matter; null: 0.05 of attainment, 0.1 sd "
        "of the reward where it has no supremum",
    )
    recall_budget: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        strict=True,
        description="nats below p''s recall that a model may lose; null: the kind's own",
    )
    resources: Annotated[SerializeAsAny[Resources], BeforeValidator(_of_the_kind)] = Field(
        default_factory=dict, validate_default=True, description="what its trials ask of Ray"
    )

    @field_validator("name")
    @classmethod
    def _name_stays_inside_the_storage(cls, value: str) -> str:
        check_name(value)
        return value

    @field_validator("kind")
    @classmethod
    def _kind_is_installed(cls, value: str) -> str:
        if value not in kind_names():
            raise ValueError(f"unknown kind {shown(value)}; {nearest(value, kind_names())}")
        return value

    @field_validator("claims")
    @classmethod
    def _claims_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = claim_ids()
        for claim in value:
            if claim not in known:
                raise ValueError(f"unknown claim {shown(claim)}; {nearest(claim, known)}")
        return value

    @field_validator("orderings")
    @classmethod
    def _names_differ(cls, value: tuple[Ordering, ...]) -> tuple[Ordering, ...]:
        _distinct(tuple(ordering.name for ordering in value))
        return value

    @field_validator("primary", "contrasts")
    @classmethod
    def _compared_orderings_run(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or "orderings" not in info.data:
            return value
        names = [ordering.name for ordering in info.data["orderings"]]
        for contrast in (value.contrast,) if isinstance(value, Primary) else value:
            check_orderings(contrast, names)
        return value

    @field_serializer("seeds")
    def _with_their_looks(self, seeds: tuple[int, ...]) -> Any:
        return spell_seeds(seeds, self.looks)

    @model_validator(mode="after")
    def _no_axis_is_a_setting_too(self) -> Study:
        for axis in self.grid:
            if axis in self.settings:
                raise ValueError(f"{shown(axis)} is both in grid and in settings: keep one")
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

    def content(self) -> dict[str, Any]:
        """The study as plain values, from which the same study can be made."""
        content = self.model_dump(mode="json")
        return {name: value for name, value in content.items() if value is not None}

    def to_yaml(self) -> str:
        """The study as a file."""
        return spell_yaml(self.content())

    def cells(self) -> list[Cell]:
        """Every cell of the study, seeds fastest.

        Raises:
            InputError: too many cells, settings that the kind refuses, or two cells that are the
                same (two spellings of one value, say).
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
    @uncollected()
    def _cells(self) -> tuple[Cell, ...]:
        if self.size > MAX_CELLS:
            raise InputError(
                f"study {self.name}: {self.size:,} cells, and a study has at most {MAX_CELLS:,}: "
                "give fewer seeds, orderings or values"
            )
        kind = find_kind(self.kind)
        cells: list[Cell] = []
        sharing = Sharing(self.seeds)
        for point in self.points():
            try:
                settings = kind.settings.model_validate({**self.settings, **point})
            except ValidationError as error:
                source, where = Source(f"study {self.name}"), f"at the grid point {shown(point)}"
                raise source.refuse(error, kind.settings, ("settings",), where) from None
            of_steps = set(self.axes) - kind.reads(settings).fields
            if of_steps:
                of_steps &= kind.reads(settings, self.orderings).fields
            for ordering in self.orderings:
                # an axis that steps of other orderings alone read leaves this one's models as they
                # are: it stands beside the others at every value
                beside = of_steps and of_steps - kind.reads(settings, [ordering]).fields
                seeds = self.seeds[:1] if kind.seeds_alike else self.seeds
                made = (kind.cell(ordering, settings, seed).beside(beside) for seed in seeds)
                if kind.seeds_alike:
                    cells += sharing.cells(next(made))
                else:
                    cells += map(sharing.cell, made)
        return tuple(cells)


def _alike(cell: Cell, other: Cell, axes: Sequence[str]) -> str:
    """Why two cells are one, and the way out."""
    reads = find_kind(cell.kind).reads(cell.settings)
    differing = [axis for axis in axes if cell.factors[axis] != other.factors[axis]]
    what = f"{cell.ordering.name}, seed {cell.seed}"
    point = shown({axis: cell.factors[axis] for axis in axes})
    for axis in differing:
        if axis in reads.unread:
            return (
                f"{reads.unread[axis]}, so that {what} would run several times at {point}: keep "
                f"one value of {axis}, or give what reads it a study of its own"
            )
    return f"the cell {what}, {point} stands in the grid twice: remove one of the equal values"
