"""Several runs at a glance: each one's verdict and its largest order effect."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.number_format import p_text, point_text, row_interval
from recalltrap_analysis.report.document.blocks import Block, Items, Prose, Section
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary


def overview_section(
    runs: Sequence[ReadRun], summaries: Sequence[Summary], refused: Sequence[str]
) -> Section:
    """One row per run: its verdict and its largest order effect."""
    rows, data = [], []
    for run, summary in zip(runs, summaries, strict=True):
        complete = summary.order_effect[summary.order_effect["state"] == COMPLETE]
        deepest = None
        if len(complete):
            deepest = complete.iloc[int(complete["order_effect"].to_numpy().argmax())]
        rows.append(
            {
                "study": run.study.name,
                "verdict": summary.verdict,
                "largest order effect": "–"
                if deepest is None
                else row_interval(deepest, "order_effect"),
                "at": "–" if deepest is None else point_text(deepest["point"], summary.axes),
                "p (Holm)": "–" if deepest is None else p_text(deepest["p_holm"]),
                "seeds": len(run.study.seeds),
                "cells": f"{summary.succeeded} of {summary.planned}",
            }
        )
        one = pd.DataFrame([deepest]) if deepest is not None else pd.DataFrame()
        data.append(
            {"study": run.study.name, "verdict": summary.verdict, "sentence": summary.sentence,
             "deepest": next(iter(records(one)), None), "succeeded": summary.succeeded,
             "planned": summary.planned}
        )  # fmt: skip
    blocks: list[Block] = [grid("studies", pd.DataFrame(rows), data=data)]
    if refused:
        blocks += [Prose("Runs that can't be read, so not in this report:"), Items(refused)]
    return Section("overview", "Studies", blocks)
