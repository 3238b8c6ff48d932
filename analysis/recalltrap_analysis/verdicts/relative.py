"""Which run is nearest to a study that is planned, and what the study can decide at its spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap.registry import find_kind
from recalltrap_analysis.runs.design import hashable
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.protocol import Run, StudyLike
from recalltrap_analysis.verdicts.power_of_study import Decidable, decidable

Values = Mapping[str, frozenset[Any]]
"""Of every setting of a study's kind, the values that some of its cells have."""


class Asked(StudyLike, Protocol):
    """A study with what it asks of its kind's settings."""

    @property
    def grid(self) -> Mapping[str, Sequence[Any]]: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...


class AskedRun(Run, Protocol):
    """A run whose study says what it asked."""

    @property
    def study(self) -> Asked: ...


def decidable_in_storage(
    study: Asked, cells: Sequence[Cell], axes: Sequence[str], runs: Sequence[AskedRun]
) -> Decidable | None:
    """What a study's primary can decide, at the spread over seeds of its nearest relative.

    Args:
        study: As written, whether it ran or not.
        cells: Its planned cells.
        axes: Its grid's axes.
        runs: All runs of the storage, in any order; their tables are read only where they are near.
    """
    return decidable(study, cells, axes, relatives=relatives(study, runs))


def relatives(study: Asked, runs: Sequence[AskedRun]) -> list[AskedRun]:
    """The runs of the study's kind and algorithm, those first that share most with it.

    What two studies share is the mean over settings of how many values they have in common of
    those that either has; the study's own run comes first where it asked the same. Runs that can't
    be read are left out.
    """
    algorithm, values = record_of(study.kind).algorithm, _values(study)
    found = []
    for run in runs:
        try:
            other = run.study
        except InputError:
            continue
        if other.kind != study.kind:
            continue
        theirs = _values(other)
        if algorithm is None or values[algorithm] & theirs[algorithm]:
            own = other.name == study.name
            found.append((_shared(values, theirs), own, len(other.seeds), other.name, run))
    found.sort(key=lambda one: (-one[0], not one[1], -one[2], one[3]))
    return [run for *_, run in found]


def _values(study: Asked) -> Values:
    given = {**find_kind(study.kind).settings().model_dump(mode="json"), **study.settings}
    several = {name: frozenset(map(hashable, values)) for name, values in study.grid.items()}
    return {name: frozenset({hashable(value)}) for name, value in given.items()} | several


def _shared(one: Values, other: Values) -> float:
    return sum(len(one[name] & other[name]) / len(one[name] | other[name]) for name in one) / len(
        one
    )
