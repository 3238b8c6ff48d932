"""The order effect where both orderings spend the same: as many updates, or the same cost.

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

from recalltrap.graph import Cell, Node
from recalltrap_analysis.estimates.order_effect import (
    ALIGN_THEN_KD,
    KD_THEN_ALIGN,
    by_point,
    estimate_means,
    spread,
)
from recalltrap_analysis.runs.design import Design, GridPoint, hashable
from recalltrap_analysis.runs.kind_record import KindRecord


@dataclass(frozen=True)
class CellCost:
    """What one cell spends after p', by `cost_measure`, and the updates that it makes there.

    `updates` counts those of each stage; None where nothing tells.
    """

    amount: float
    updates: Mapping[str, int | None]


MADE_FROM = ("teacher", "start", "reference", "samples", "pairs", "states", "model")
"""What a model or a sample is to what is made from it; other parents judge."""


def policies(cell: Cell) -> list[Node]:
    """The models that the ordering makes of p', what they are made from first: alignments and
    students, those that others go on from among them."""
    return _policies(stages_after_p_prime(cell))


def _policies(stages: Sequence[Node]) -> list[Node]:
    return [node for node in stages if "model" not in node.parents]


def stages_after_p_prime(cell: Cell) -> list[Node]:
    """What the ordering costs: its alignments, its distillations and the samples these learn."""
    p_prime, found = cell.models["p_prime"], dict[str, Node]()

    def visit(node: Node) -> bool:
        """Whether p' is in a node's making; notes it then."""
        if node.id == p_prime.id:
            return True
        if node.id in found:
            return True
        parents = [node.parents[name] for name in MADE_FROM if name in node.parents]
        from_p_prime = sum(map(visit, parents)) > 0  # all of them are noted
        if from_p_prime:
            found[node.id] = node
        return from_p_prime

    visit(cell.models["final"])
    return list(found.values())


def cost_measure(costs: pd.DataFrame, cells: Sequence[Cell]) -> str:
    """`flops` where every stage reports them (they don't depend on the machine), else seconds."""
    wanted = {node.id for cell in cells for node in stages_after_p_prime(cell)}
    built = costs[costs["artifact_id"].astype(object).isin(wanted)]
    return "flops" if len(built) and (built["flops"] > 0).all() else "device_seconds"


def cell_costs(
    costs: pd.DataFrame, cells: Sequence[Cell], kind: KindRecord, measure: str | None = None
) -> dict[str, CellCost]:
    """Cost and updates after p' of every cell whose stages all have a recorded, finite cost.

    A row of `costs` holds what an execution spent beyond its shorter lengths, so those are added.
    `measure` is a column of `costs`; that of `cost_measure` unless given.
    """
    measure = measure or cost_measure(costs, cells)
    amounts = costs[measure].to_numpy(dtype=float)
    rows = zip(costs["artifact_id"].tolist(), amounts.tolist(), strict=True)
    spent: dict[str, float] = {name: value for name, value in rows if math.isfinite(value)}
    counted = _counted_updates(costs)
    after_p_prime = {cell.id: stages_after_p_prime(cell) for cell in cells}
    chains = [(cell, _policies(after_p_prime[cell.id])) for cell in cells]
    lengths: dict[str, list[Node]] = {}
    built = {node.id: node for _, chain in chains for node in chain if node.id in spent}
    timed = [node for node in built.values() if node.length_field]
    several = len({node.length for node in timed}) > 1  # else no execution has a shorter one
    for node in timed if several else ():
        lengths.setdefault(node.execution, []).append(node)

    def passed_through(node: Node) -> list[Node]:
        """The node and the shorter ones that its execution had stored before."""
        if not (several and node.length_field):
            return [node]
        return [other for other in lengths[node.execution] if other.length <= node.length]

    def total(node: Node) -> float:
        return sum(spent[other.id] for other in passed_through(node))

    def updates_of(node: Node) -> int | None:
        made = [counted.get(other.id) for other in passed_through(node)]
        if None in made:
            return node.length or kind.updates(node)
        return sum(one for one in made if one is not None)

    found = {}
    for cell, chain in chains:
        after = after_p_prime[cell.id]
        if not all(node.id in spent for node in after):
            continue
        updates: dict[str, int | None] = {}
        for node in chain:
            mine, before = updates_of(node), updates.get(node.stage, 0)
            updates[node.stage] = None if mine is None or before is None else before + mine
        found[cell.id] = CellCost(sum(map(total, after)), updates)
    return found


def _counted_updates(costs: pd.DataFrame) -> dict[str, int]:
    """Updates by artifact, where the stage counted them."""
    if "updates" not in costs:
        return {}
    known = costs[costs["updates"].notna()]
    names, counts = known["artifact_id"].tolist(), known["updates"].astype(int).tolist()
    return dict(zip(names, counts, strict=True))


def length_setting(cells: Sequence[Cell]) -> str | None:
    """The setting that sets the length of alignment, if there is one."""
    aligned = (node for cell in cells for node in policies(cell) if "reference" in node.parents)
    return next((node.length_field for node in aligned if node.length_field), None)


def length_axis(design: Design, cells: Sequence[Cell]) -> str | None:
    """The axis that sets the length of alignment, if the study varies it."""
    setting = length_setting(cells)
    return setting if setting in design.axes else None


def equal_cost_table(
    pairs: pd.DataFrame,
    design: Design,
    cells: Sequence[Cell],
    spending: Mapping[str, CellCost],
    generator: np.random.Generator,
) -> pd.DataFrame:
    """The order effect at equal updates and at equal cost, per grid point of a study of lengths.

    K-A's attainment is interpolated over its lengths, seed by seed, at the cost that A-K has at
    the grid point.

    Args:
        pairs: Rows of `pair_orderings`.
        design: What was planned.
        cells: The planned cells.
        spending: What `cell_costs` gives.
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
    spent = _costs_by_point(cells, design.axes, spending)
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
        seeds = rows["seed"].tolist()
        found[point] = {
            ordering: dict(zip(seeds, rows[name].tolist(), strict=True))
            for ordering, name in (
                (KD_THEN_ALIGN, "attainment_ka"),
                (ALIGN_THEN_KD, "attainment_ak"),
            )
        }
    return found


def _costs_by_point(
    cells: Sequence[Cell], axes: Sequence[str], spending: Mapping[str, CellCost]
) -> dict[tuple[GridPoint, str], float]:
    costs: dict[tuple[GridPoint, str], list[float]] = {}
    for cell in cells:
        if cell.id in spending:
            point = tuple(hashable(cell.factors[axis]) for axis in axes)
            costs.setdefault((point, cell.ordering.name), []).append(spending[cell.id].amount)
    return {key: float(np.mean(found)) for key, found in costs.items()}


def _matched(
    point: GridPoint,
    family: Sequence[GridPoint],
    lookup: Mapping[GridPoint, Mapping[str, Seeds]],
    spent: Mapping[tuple[GridPoint, str], float],
) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """The order effect at equal updates and at equal cost, per seed; None where one lacks."""
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
