"""The study's design: which seeds of which ordering were planned at which grid point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from recalltrap.graph import Cell

GridPoint: TypeAlias = tuple[Any, ...]
"""The values of the grid's axes, in order: a setting without its ordering."""
_PLAIN = frozenset({float, int, str, bool, type(None)})


@dataclass(frozen=True)
class Design:
    """What the study asked for: the planned seeds of every ordering at every grid point."""

    axes: tuple[str, ...]
    orderings: tuple[str, ...]
    seeds: Mapping[tuple[GridPoint, str], tuple[int, ...]]
    points: tuple[GridPoint, ...] = field(default=())
    settings: Mapping[GridPoint, Mapping[str, Any]] = field(default_factory=dict)
    """All settings of every grid point, by name; those that are no axis are the study's."""

    @classmethod
    def of(cls, cells: Sequence[Cell], axes: Sequence[str]) -> Design:
        """Reads the design off the planned cells; grid points keep the order of the cells."""
        seeds: dict[tuple[GridPoint, str], list[int]] = {}
        points: dict[GridPoint, Mapping[str, Any]] = {}
        orderings: dict[str, None] = {}
        for cell in cells:
            factors = cell.factors
            point = tuple(hashable(factors[axis]) for axis in axes)
            points.setdefault(point, factors)
            orderings[cell.ordering.name] = None
            seeds.setdefault((point, cell.ordering.name), []).append(cell.seed)
        return cls(
            axes=tuple(axes),
            orderings=tuple(orderings),
            seeds={key: tuple(sorted(found)) for key, found in seeds.items()},
            points=tuple(points),
            settings=points,
        )


def hashable(value: Any) -> Any:
    """A setting's value as a key: lists become tuples, whatever library they came from."""
    if type(value) in _PLAIN:  # asked for every axis of every cell, many times
        return value
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(hashable(item) for item in value)
    return value
