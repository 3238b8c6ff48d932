"""Severity where both orderings spend the same: the same number of updates, or the same cost.

At equal updates the study's own pairs do. At equal cost K-A is read at the length of alignment
that costs what A-K costs, which only a study can show that has that length as an axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.graph import Cell, Node, ancestry
from recalltrap_analysis.estimates.severity import (
    ALIGN_THEN_KD,
    KD_THEN_ALIGN,
    attainment,
    by_point,
    estimate_means,
    spread,
)
from recalltrap_analysis.runs.design import Design, GridPoint, hashable

STAGES = ("distill", "align")
SAMPLING = "sample"
"""Where a kind draws a teacher's samples in a stage of its own, it is part of the distillation."""


@dataclass(frozen=True)
class Budget:
    """What one cell spends after p', by `measure` (`flops` or `device_seconds`), and its updates.

    `updates` counts the iterations of every stage after p'; None where a stage doesn't tell.
    """

    cost: float
    updates: Mapping[str, int | None]


def updates_of(node: Node) -> int | None:
    """The iterations of a stage execution, as its config names them; None if it doesn't."""
    if node.length_field:
        return node.length
    found = node.config.get(f"{node.stage}_iterations")
    return int(found) if isinstance(found, int) else None


def cost_measure(costs: pd.DataFrame) -> str:
    """`flops` where every stage reports them (they don't depend on the machine), else seconds."""
    built = costs[costs["stage"].isin((*STAGES, SAMPLING))]
    return "flops" if len(built) and (built["flops"] > 0).all() else "device_seconds"


def cell_budgets(costs: pd.DataFrame, cells: Sequence[Cell]) -> dict[str, Budget]:
    """Cost and updates after p' of every cell whose stages all have a recorded, finite cost.

    A row of `costs` holds what an execution spent beyond its shorter lengths, so those are added.
    """
    measure = cost_measure(costs)
    amounts = costs[measure].to_numpy(dtype=float)
    rows = zip(costs["artifact_id"], amounts.tolist(), strict=True)
    spent: dict[str, float] = {name: value for name, value in rows if math.isfinite(value)}
    nodes = {node.id: node for cell in cells for node in ancestry([cell.models["final"]])}
    lengths: dict[str, list[Node]] = {}
    for node in nodes.values():
        if node.length_field and node.id in spent:
            lengths.setdefault(node.execution, []).append(node)

    def total(node: Node) -> float:
        if not node.length_field:
            return spent[node.id]
        shorter = [other for other in lengths[node.execution] if other.length <= node.length]
        return sum(spent[other.id] for other in shorter)

    budgets = {}
    for cell in cells:
        made = [n for n in ancestry([cell.models["final"]]) if n.stage in STAGES]
        after = {node.id: node for node in (*made, *_sampled(made))}.values()
        if not all(node.id in spent for node in after):
            continue
        updates: dict[str, int | None] = {}
        for node in made:
            found, before = updates_of(node), updates.get(node.stage, 0)
            updates[node.stage] = None if found is None or before is None else before + found
        budgets[cell.id] = Budget(sum(map(total, after)), updates)
    return budgets


def _sampled(made: Sequence[Node]) -> list[Node]:
    """The sample sets that distillations learned."""
    teachers = [
        parent for node in made if node.stage == "distill" for parent in node.parents.values()
    ]
    return [node for node in teachers if node.stage == SAMPLING]


def length_axis(design: Design, cells: Sequence[Cell]) -> str | None:
    """The axis that sets the length of alignment, if the study varies it."""
    fields = {
        node.length_field
        for cell in cells[:1]
        for node in ancestry([cell.models["final"]])
        if node.stage == "align"
    }
    return next((axis for axis in design.axes if axis in fields), None)


def equal_cost_table(
    pairs: pd.DataFrame,
    design: Design,
    cells: Sequence[Cell],
    budgets: Mapping[str, Budget],
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Severity at equal updates and at equal cost, per grid point of a study of lengths.

    K-A's attainment is interpolated over its lengths, seed by seed, at the cost that A-K has at
    the grid point.

    Args:
        pairs: Rows of `pair_orderings`.
        design: What was planned.
        cells: The planned cells.
        budgets: What `cell_budgets` gives.
        generator: Source of the bootstrap's resamples.

    Returns:
        The axes, `point`, `cost_ka` and `cost_ak` (means over seeds), `equal_updates` and
        `equal_cost` with `_low` and `_high`, `method`, and `reach`: `within`, `beyond` (A-K costs
        more than K-A's longest run, which stands in) or `below` (less than its shortest). Empty
        where no axis is a length.
    """
    axis = length_axis(design, cells)
    if axis is None or pairs.empty:
        return pd.DataFrame()
    spent = _costs_by_point(cells, design.axes, budgets)
    place = design.axes.index(axis)
    groups: dict[GridPoint, pd.DataFrame] = {}
    records = []
    families: dict[GridPoint, list[GridPoint]] = {}
    for point in design.points:
        families.setdefault(point[:place] + point[place + 1 :], []).append(point)
    lookup = _attainments(pairs)
    for point in design.points:
        family = sorted(families[point[:place] + point[place + 1 :]], key=lambda p: p[place])
        found = _matched(point, family, lookup, spent)
        if found is None:
            continue
        rows, record = found
        groups[point] = rows
        records.append(dict(zip(design.axes, point, strict=True)) | {"point": point} | record)
    if not records:
        return pd.DataFrame()
    names = ("equal_updates", "equal_cost")
    means = {name: (lambda rows, name=name: rows[name]) for name in names}
    estimates = estimate_means(groups, means, generator)
    for record in records:
        record |= spread(estimates[record["point"]], names)
        estimate = estimates[record["point"]].get("equal_cost")
        record["method"] = estimate.method if estimate else ""
    return pd.DataFrame.from_records(records)


Seeds = Mapping[int, float]


def _attainments(pairs: pd.DataFrame) -> dict[GridPoint, dict[str, Seeds]]:
    found: dict[GridPoint, dict[str, Seeds]] = {}
    for point, rows in by_point(pairs).items():
        start, top = rows["reward_start"].to_numpy(), rows["reward_supremum"].to_numpy()
        seeds = rows["seed"].tolist()
        found[point] = {
            name: dict(
                zip(seeds, attainment(rows[reward].to_numpy(), start, top).tolist(), strict=True)
            )
            for name, reward in ((KD_THEN_ALIGN, "reward_ka"), (ALIGN_THEN_KD, "reward_ak"))
        }
    return found


def _costs_by_point(
    cells: Sequence[Cell], axes: Sequence[str], budgets: Mapping[str, Budget]
) -> dict[tuple[GridPoint, str], float]:
    costs: dict[tuple[GridPoint, str], list[float]] = {}
    for cell in cells:
        if cell.id in budgets:
            point = tuple(hashable(cell.factors[axis]) for axis in axes)
            costs.setdefault((point, cell.ordering.name), []).append(budgets[cell.id].cost)
    return {key: float(np.mean(found)) for key, found in costs.items()}


def _matched(
    point: GridPoint,
    family: Sequence[GridPoint],
    lookup: Mapping[GridPoint, Mapping[str, Seeds]],
    spent: Mapping[tuple[GridPoint, str], float],
) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """Per seed, severity at equal updates and at equal cost; None where something is missing."""
    known = [p for p in family if p in lookup and (p, KD_THEN_ALIGN) in spent]
    budget = spent.get((point, ALIGN_THEN_KD))
    if budget is None or point not in known:
        return None
    costs = [spent[p, KD_THEN_ALIGN] for p in known]
    arm_ak, arm_ka = lookup[point][ALIGN_THEN_KD], lookup[point][KD_THEN_ALIGN]
    seeds = [s for s in arm_ak if all(s in lookup[p][KD_THEN_ALIGN] for p in known)]
    values = np.array([[lookup[p][KD_THEN_ALIGN][s] for p in known] for s in seeds])
    ak = np.array([arm_ak[s] for s in seeds])
    if not seeds or not np.isfinite(values).all() or not np.isfinite(ak).all():
        return None
    matched = np.array([np.interp(budget, costs, row) for row in values])
    reach = "within" if costs[0] <= budget <= costs[-1] else "beyond"
    record = {
        "cost_ka": spent[point, KD_THEN_ALIGN],
        "cost_ak": budget,
        "reach": "below" if budget < costs[0] else reach,
    }
    same = ak - np.array([arm_ka[s] for s in seeds])
    return pd.DataFrame({"equal_updates": same, "equal_cost": ak - matched}), record
