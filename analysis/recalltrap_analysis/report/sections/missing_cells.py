"""Planned cells against finished ones, failures with the command to retry, and what a run lacks."""

from __future__ import annotations

import pandas as pd

from recalltrap_analysis.estimates.missing_cells import count_table, describe, failure_groups
from recalltrap_analysis.report.document.blocks import Block, Code, Fold, Items, Prose, Section
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.missing_parts import missing_parts
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary


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
