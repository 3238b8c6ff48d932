"""Which of a run's numbers a figure shows: sweep axis, facets, groups, one seed's models.

A large grid is thinned evenly and the caption says so; nothing is averaged to make it fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy

from recalltrap.errors import InputError
from recalltrap.graph import Cell, Node
from recalltrap_analysis.estimates.forecast import reference_rows
from recalltrap_analysis.estimates.severity import COMPLETE, by_point
from recalltrap_analysis.figures import BoxPanels, Mixture
from recalltrap_analysis.number_format import point_lines, setting_text
from recalltrap_analysis.runs.design import Design, GridPoint, hashable
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.statistics.paired import Array

Item = TypeVar("Item")
METRICS: Mapping[str, str] = {
    "final.reward": "reward",
    "final.target_precision": "target precision, nats",
    "final.overall_recall": "overall recall, nats",
    "final.overall_precision": "overall precision, nats",
}
MOST_FACETS, MOST_POSITIONS, MOST_GROUPS = 4, 12, 6
MOST_BOXES = 100  # side by side


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


def join(design: Design, value: Any, facet: GridPoint) -> GridPoint:
    """The grid point of a sweep value and a combination of the other axes."""
    sweep = sweep_axis(design)
    if sweep is None:
        return ()
    place = design.axes.index(sweep)
    return (*facet[:place], value, *facet[place:])


def box_panels(outcomes: pd.DataFrame, design: Design) -> tuple[BoxPanels, str]:
    """The paper's boxplots of the final models, and a note on what was left out of them."""
    sweep, values, others, facets = split_grid(design)
    shown_values = thin(values, MOST_POSITIONS)
    fitting = MOST_BOXES // (len(shown_values) * max(1, len(design.orderings)))
    shown = thin(facets, max(1, min(MOST_FACETS, fitting)))
    rows: dict[tuple[GridPoint, str], list[int]] = {}
    keys = zip(point_keys(outcomes, design.axes), outcomes["ordering"], strict=True)
    for position, key in enumerate(keys):
        rows.setdefault(key, []).append(position)
    boxes: dict[tuple[int, int, int, str], Array] = {}
    dropped = 0
    for row, metric in enumerate(METRICS):
        every = column(outcomes, metric).to_numpy()
        for (facet_index, facet), (position, value) in (
            (f, v) for f in enumerate(shown) for v in enumerate(shown_values)
        ):
            for ordering in design.orderings:
                found = every[rows.get((join(design, value, facet), ordering), [])]
                boxes[row, facet_index, position, ordering] = found[np.isfinite(found)]
                dropped += int((~np.isfinite(found)).sum())
    notes = []
    if len(shown) < len(facets):
        notes.append(f"{len(shown)} of {len(facets)} combinations of the other axes are shown")
    if len(shown_values) < len(values):
        notes.append(f"{len(shown_values)} of {len(values)} values of {sweep} are shown")
    if dropped:
        notes.append(f"{dropped} values that are missing or not finite are not drawn")
    panels = BoxPanels(
        rows=list(METRICS.values()),
        columns=[point_lines(facet, others) if others else "" for facet in shown],
        positions=[setting_text(value) if sweep else "" for value in shown_values],
        orderings=design.orderings,
        sweep=sweep,
        values=boxes,
    )
    return panels, "; ".join(notes)


def severity_grid(
    table: pd.DataFrame, design: Design, name: str = "severity", most_rows: int = 40
) -> tuple[Array, list[str], list[str], str, str]:
    """A column of the severity table as a matrix [other axes, sweep], its labels, the axes' names.

    The rows are sorted as the design has them; NaN where a grid point has no number.
    """
    sweep, values, others, facets = split_grid(design)
    found = dict(zip(table["point"], table[name], strict=True))
    shown = thin(facets, most_rows)
    matrix = [
        [found.get(join(design, value, facet), np.nan) for value in values] for facet in shown
    ]
    if len(others) == 1:
        y_labels = [setting_text(facet[0]) for facet in shown]
    else:
        y_labels = [" · ".join(setting_text(value) for value in facet) for facet in shown]
    return np.array(matrix), [setting_text(v) for v in values], y_labels, sweep, " · ".join(others)


def reference_groups(
    outcomes: pd.DataFrame, design: Design
) -> tuple[list[str], list[tuple[Array, Array]], list[tuple[Array, Array]], str]:
    """Recall and hit rate of p' and p'', once for every distinct set of references.

    Returns:
        Labels, per group recall and hit rate of (p', p''), and a note on what was left out.
    """
    names = ["recall_p_prime", "recall_p_second", "hit_rate_p_prime", "hit_rate_p_second"]
    groups: dict[bytes, list[GridPoint]] = {}
    numbers: dict[bytes, Array] = {}
    found = by_point(reference_rows(outcomes, design.axes))
    for point in (point for point in design.points if point in found):
        values = found[point][names].to_numpy(dtype=float)
        values = values[np.isfinite(values).all(axis=1)]
        if len(values):
            groups.setdefault(values.tobytes(), []).append(point)
            numbers[values.tobytes()] = values
    shown = thin(list(groups), MOST_GROUPS)
    deciding = [
        place
        for place in range(len(design.axes))
        if all(len({point[place] for point in points}) == 1 for points in groups.values())
    ]
    axes = [design.axes[place] for place in deciding]
    labels = [point_lines([groups[key][0][place] for place in deciding], axes) for key in shown]
    recall = [(numbers[key][:, 0], numbers[key][:, 1]) for key in shown]
    hits = [(numbers[key][:, 2], numbers[key][:, 3]) for key in shown]
    note = f"{len(shown)} of {len(groups)} sets of references are shown"
    return labels, recall, hits, note if len(shown) < len(groups) else ""


def typical_pair(pairs: pd.DataFrame, table: pd.DataFrame) -> tuple[GridPoint, int] | None:
    """The grid point of the deepest severity and there the seed nearest to the median severity."""
    complete = table[table["state"] == COMPLETE]
    if complete.empty:
        return None
    point = complete["point"].tolist()[int(np.argmax(complete["severity"].to_numpy()))]
    rows = by_point(pairs)[point]
    distance = (rows["severity"] - rows["severity"].median()).abs().to_numpy()
    return point, int(rows["seed"].to_numpy()[int(np.argmin(distance))])


def seed_mixtures(
    cells: Sequence[Cell], axes: Sequence[str], point: GridPoint, seed: int, store: ArtifactReader
) -> list[Mixture]:
    """p', p'' and every ordering's models of one grid point and seed, as stored.

    Raises:
        InputError: no such cell, or a model is not stored or is not a mixture in the plane.
    """
    models: dict[str, Node] = {}
    for cell in cells_at([cell for cell in cells if cell.seed == seed], axes, point):
        models.setdefault("p'", cell.models["p_prime"])
        models.setdefault("p''", cell.models["p_second"])
        if cell.ordering.name == "A-K" and "p_prime_aligned" in cell.models:
            models["p'_AK (A-K, before distilling)"] = cell.models["p_prime_aligned"]
        if cell.models["final"].id not in {node.id for node in models.values()}:
            models[f"final of {cell.ordering.name}"] = cell.models["final"]
    if not models:
        raise InputError("no cell of that grid point and seed")
    return [load_mixture(title, node, store) for title, node in models.items()]


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


def load_mixture(title: str, node: Node, store: ArtifactReader) -> Mixture:
    """One stored mixture.

    Raises:
        InputError: it is not stored, is damaged, or is not a mixture in the plane.
    """
    if not store.has(node):
        raise InputError(f"{title} is not in the store")
    try:
        arrays = safetensors.numpy.load(store.read(node, "model.safetensors"))
    except safetensors.SafetensorError as error:
        raise InputError(f"{title} is damaged in the store ({error})") from None
    return mixture(title, arrays)


def mixture(title: str, arrays: Mapping[str, Any]) -> Mixture:
    """A mixture from `logits` [K], `means` [K, 2] and `cholesky` [K, 3].

    Raises:
        InputError: the arrays are not those of a mixture in the plane, or not finite.
    """
    names = ("logits", "means", "cholesky")
    if not set(names) <= set(arrays) or arrays["means"].shape[-1] != 2:
        raise InputError(f"{title} is not a mixture in the plane")
    if not all(np.isfinite(np.asarray(arrays[name], dtype=float)).all() for name in names):
        raise InputError(f"{title} holds parameters that are not finite")
    logits_K = np.asarray(arrays["logits"], dtype=float)
    weights_K = np.exp(logits_K - logits_K.max())
    means_K2 = np.asarray(arrays["means"], dtype=float)
    cholesky_K3 = np.asarray(arrays["cholesky"], dtype=float)
    return Mixture(title, weights_K / weights_K.sum(), means_K2, cholesky_K3)
