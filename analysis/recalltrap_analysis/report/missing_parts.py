"""The list of what a run doesn't have: orderings, seeds, metrics, curves, costs.

Each line names one thing that a section would have shown. Failed and missing cells, and tables
that can't be read, are listed on their own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap.errors import InputError
from recalltrap_analysis.estimates.costs import MEASURES, known_costs
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, KD_THEN_ALIGN
from recalltrap_analysis.runs.loaded_run import ReadRun, first_line
from recalltrap_analysis.verdicts.summary import Summary

SILENT = """
select cells.ordering, count(*) as cells,
  count(*) filter (cells.cell_id not in (select cell_id from curves)) as silent
from cells where status = 'succeeded' group by all having silent > 0 order by all"""
BROKEN = """
select stage, metric, count(*) as rows, count(distinct cell_id) as cells
from curves where value is null or not isfinite(value) group by all order by all"""


def missing_parts(run: ReadRun, summary: Summary) -> list[str]:
    """Everything that the run doesn't have and the report therefore leaves out, a line each."""
    lines = [
        f"ordering {name}: not in this study, so nothing is compared with it"
        for name in (KD_THEN_ALIGN, ALIGN_THEN_KD)
        if name not in summary.design.orderings
    ]
    if len({cell.seed for cell in summary.cells}) == 1:
        lines.append("seeds: there is one, so no interval, no test and no spread over seeds")
    lines += summary.lacks
    if summary.succeeded:
        lines += missing_curves(run)
        lines += missing_costs(known_costs(run.frame("costs")), summary)
    return lines


def missing_curves(run: ReadRun) -> list[str]:
    """Succeeded cells without a curve, and curves that hold values that are not finite."""
    try:
        silent, broken = (run.sql(query).to_pylist() for query in (SILENT, BROKEN))
    except InputError as error:
        return [f"curves: they can't be read ({first_line(error)})"]
    lines = []
    for row in silent:
        count = "any cell" if row["silent"] == row["cells"] else (
            f"{row['silent']} of {row['cells']} cells")  # fmt: skip
        lines.append(f"curves: none in {count} of {row['ordering']}")
    for row in broken:
        lines.append(
            f"curves: {row['metric']} of {row['stage']} is not finite at {row['rows']} steps of "
            f"{row['cells']} cells"
        )
    return lines


def missing_costs(costs: pd.DataFrame, summary: Summary) -> list[str]:
    """Stages of succeeded cells without a recorded cost, and amounts that are not known.

    `costs` went through `known_costs`.
    """
    done = [cell for cell in summary.cells if summary.statuses.get(cell.id) == "succeeded"]
    needed = {node.id for cell in done for node in cell.nodes}
    silent = len(needed - set(costs["artifact_id"]))
    lines = []
    if silent:
        lines.append(f"costs: none recorded of {silent} of {len(needed)} stage executions")
    for name in MEASURES:
        unknown = int(np.isnan(costs[name].to_numpy(dtype=float)).sum())
        if unknown:
            unit = name.replace("_", " ")
            lines.append(f"costs: no finite {unit} of {unknown} of {len(costs)} stage executions")
    return lines
