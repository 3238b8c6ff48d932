"""Which grid points a figure shows: along which axis it runs, the deepest of them, a few of many.

A large grid is thinned evenly and the caption says so; nothing is averaged to make it fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from recalltrap.graph import Cell
from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.runs.design import Design, GridPoint, hashable

Item = TypeVar("Item")


def thin(items: Sequence[Item], most: int) -> list[Item]:
    """At most that many of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[0]]
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def axis_values(design: Design, axis: str) -> list[Any]:
    """The values an axis takes, in the design's order."""
    place = design.axes.index(axis)
    return list(dict.fromkeys(point[place] for point in design.points))


def sweep_axis(design: Design) -> str | None:
    """The axis that figures run along: of the numeric ones (else of all) the longest."""

    def numeric(axis: str) -> bool:
        values = axis_values(design, axis)
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)

    axes = [axis for axis in design.axes if numeric(axis)] or list(design.axes)
    return max(axes, key=lambda axis: len(axis_values(design, axis))) if axes else None


def split_grid(design: Design) -> tuple[str, list[Any], tuple[str, ...], list[GridPoint]]:
    """Sweep axis and its values; the other axes and their combinations."""
    sweep = sweep_axis(design)
    if sweep is None:
        return "", [()], (), [()]
    others = tuple(axis for axis in design.axes if axis != sweep)
    place = design.axes.index(sweep)
    facets = dict.fromkeys(point[:place] + point[place + 1 :] for point in design.points)
    return sweep, axis_values(design, sweep), others, list(facets)


def point_at(design: Design, value: Any, facet: GridPoint) -> GridPoint:
    """The grid point of a sweep value and a combination of the other axes."""
    sweep = sweep_axis(design)
    if sweep is None:
        return ()
    place = design.axes.index(sweep)
    return (*facet[:place], value, *facet[place:])


def cells_at(cells: Sequence[Cell], axes: Sequence[str], point: GridPoint) -> list[Cell]:
    """The planned cells of one grid point, whatever their ordering and seed."""
    return [
        cell
        for cell in cells
        if all(
            hashable(getattr(cell.settings, axis)) == value
            for axis, value in zip(axes, point, strict=True)
        )
    ]


def deepest(table: pd.DataFrame, most: int) -> list[GridPoint]:
    """The complete grid points of the largest order effect, the deepest first.

    `table` has columns `point`, `state` and `order_effect`.
    """
    known = table[table["state"] == COMPLETE]
    if known.empty:
        return []
    order = np.argsort(-known["order_effect"].to_numpy(), kind="stable")[:most]
    return [known["point"].tolist()[i] for i in order]
