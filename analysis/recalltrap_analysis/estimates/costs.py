"""What each ordering costs, stage by stage, had it been run alone; and what sharing saved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from recalltrap.graph import Cell, ancestry

MEASURES = ("wall_seconds", "device_seconds", "tokens", "flops")


def known_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """The `costs` table with amounts that are not finite as NaN, which no sum counts."""
    amounts = costs[list(MEASURES)].astype(float)
    return costs.assign(**amounts.where(np.isfinite(amounts)))


def cost_table(costs: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """Cost per ordering and stage: all that its final models need, down to p'.

    An artifact that two orderings share counts in both.

    Args:
        costs: The `costs` table.
        cells: The planned cells; costs of artifacts that none of them needs are left out.

    Returns:
        Columns `ordering`, `stage` (parents before children, `all stages` last), `artifacts`,
        `wall_seconds`, `device_seconds`, `tokens`, `flops`. The last row's ordering is `all
        orderings`: every artifact once, which is what the run paid.
    """
    needs: dict[str, dict[str, None]] = {}
    for cell in cells:
        artifacts = needs.setdefault(cell.ordering.name, {})
        # not cell.nodes: A-K is measured against p'' but doesn't need it
        artifacts.update({node.id: None for node in ancestry([cell.models["final"]])})
        if "final" in cell.assessments:
            artifacts[cell.assessments["final"].id] = None
        artifacts[cell.id] = None  # costs of the cell's own stages that leave no artifact
    paid = costs.assign(artifacts=1)
    order = stage_order(cells)
    frames = []
    for ordering, artifacts in needs.items():
        mine = paid[_belongs(paid, set(artifacts))]
        stages = mine.groupby("stage", sort=False)[["artifacts", *MEASURES]].sum().reset_index()
        places = stages["stage"].map(order).fillna(np.inf)
        stages = stages.iloc[np.argsort(places.to_numpy(), kind="stable")]
        frames += [stages.assign(ordering=ordering), _total(mine, ordering)]
    everything = {node.id for cell in cells for node in cell.nodes} | {cell.id for cell in cells}
    frames.append(_total(paid[_belongs(paid, everything)], "all orderings"))
    columns = ["ordering", "stage", "artifacts", *MEASURES]
    return pd.concat(frames, ignore_index=True)[columns]


def stage_order(cells: Sequence[Cell]) -> dict[str, int]:
    """Each stage's place, parents before children; stages without artifacts have none."""
    nodes = ancestry([node for cell in cells for node in cell.outputs])
    return {stage: place for place, stage in enumerate(dict.fromkeys(node.stage for node in nodes))}


def _belongs(paid: pd.DataFrame, artifacts: set[str]) -> pd.Series[bool]:
    # as plain objects: pandas looks Arrow's strings up by making the whole list Arrow's first
    names, cells = (paid[name].astype(object) for name in ("artifact_id", "cell_id"))
    return names.isin(artifacts) | cells.isin(artifacts)


def _total(rows: pd.DataFrame, ordering: str) -> pd.DataFrame:
    sums = rows[["artifacts", *MEASURES]].sum()
    return pd.DataFrame([{"ordering": ordering, "stage": "all stages", **sums.to_dict()}])


def unshared_seconds(costs: pd.DataFrame, cells: Sequence[Cell]) -> float:
    """Wall seconds that the cells' artifacts would take if every cell built its own.

    Artifacts without a known cost count as 0, as they do in `cost_table`.
    """
    amounts = costs["wall_seconds"].fillna(0.0).tolist()
    seconds = dict(zip(costs["artifact_id"].tolist(), amounts, strict=True))
    return float(sum(seconds.get(node.id, 0.0) for cell in cells for node in cell.nodes))
