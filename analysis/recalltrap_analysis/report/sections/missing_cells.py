"""Planned cells against finished ones, failures with the command to retry, and what a run lacks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap.errors import InputError
from recalltrap_analysis.estimates.costs import MEASURES, known_costs
from recalltrap_analysis.estimates.missing.cells import count_table, describe, failure_groups
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, KD_THEN_ALIGN
from recalltrap_analysis.report.document.blocks import Block, Code, Fold, Items, Prose, Section
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun, first_line
from recalltrap_analysis.verdicts.summary import Summary

SILENT = """
select cells.ordering, count(*) as cells,
  count(*) filter (cells.cell_id not in (select cell_id from curves)) as silent
from cells where status = 'succeeded' group by all having silent > 0 order by all"""
BROKEN = """
select stage, metric, count(*) as rows, count(distinct cell_id) as cells
from curves where value is null or not isfinite(value) group by all order by all"""


def missing_cells_section(run: ReadRun, summary: Summary) -> Section:
    """Planned cells against finished ones, failures by class with the command to retry."""
    lacks = missing_parts(run, summary)
    counts = count_table(summary.cells, summary.statuses)
    blocks: list[Block] = []
    if not {"planned", "cells"} & set(run.problems):
        blocks.append(grid("cells", counts, data=records(counts), query=sql.count_query()))
    if run.problems:
        blocks.append(Prose("Can't be used, so not shown:", "absent"))
        blocks.append(Items([f"{name}: {reason}" for name, reason in run.problems.items()]))
    unread = {"planned", "cells"} & set(run.problems)
    missing = [c for c in summary.cells if c.id not in summary.statuses] if not unread else []
    if missing:
        blocks.append(
            Prose("Not run yet (rerunning the study runs these and the failed ones alone):")
        )
        blocks.append(Items(describe(missing, summary.axes)))
    groups = failure_groups(run.frame("failures"), summary.cells, summary.axes, summary.statuses)
    if groups:
        text = pd.DataFrame(
            {
                "class": [group.failure for group in groups],
                "cells": [group.cells for group in groups],
                "message": [group.message for group in groups],
                "where": [group.where for group in groups],
            }
        )
        data = [vars(group) for group in groups]
        blocks.append(grid("failures", text, data=data, query=sql.failure_query()))
        for group in groups:
            inside: list[Block] = [Code(group.retry_command)]
            if group.log_tail:
                inside.append(Fold("Log of one of them", [Code(group.log_tail)]))
            blocks.append(
                Fold(f"To retry: {group.failure}, {group.cells} cells", inside, open=True)
            )
    if lacks:
        blocks.append(Prose("Not in this run, so left out above:"))
        blocks.append(Items(lacks))
    if not missing and not groups and not run.problems and not lacks:
        blocks.append(Prose("Nothing: every planned cell has succeeded."))
    return Section("gaps", "Missing data and failed cells", blocks, summary={"lacks": lacks})


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
    silent = len(needed - set(costs["artifact_id"].tolist()))
    lines = []
    if silent:
        lines.append(f"costs: none recorded of {silent} of {len(needed)} stage executions")
    for name in MEASURES:
        unknown = int(np.isnan(costs[name].to_numpy(dtype=float)).sum())
        if unknown:
            unit = name.replace("_", " ")
            lines.append(f"costs: no finite {unit} of {unknown} of {len(costs)} stage executions")
    return lines
