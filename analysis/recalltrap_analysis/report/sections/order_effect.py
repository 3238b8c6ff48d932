"""How severe the trap is, over the grid."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.report.document.blocks import Block, Fold, Grid, Prose, Section
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.order_effect import order_effect_plot
from recalltrap_analysis.report.sections.grid_tables import deepest_first
from recalltrap_analysis.report.sections.statistics_tables import statistics_blocks
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import (
    SIGNIFICANT,
    SLIGHT,
    Summary,
    order_effect_text,
    smallest_adjusted_p,
)

METHODS = {"trap_rate": "Wilson", "instability_ratio": "jackknife of the log variance ratio"}


def order_effect_section(run: ReadRun, summary: Summary) -> Section:
    """Order effect over the grid, with every statistic behind the reading."""
    methods = [m for m in summary.order_effect.get("method", pd.Series(dtype=str)).unique() if m]
    method = " and ".join(methods)
    kinds = f" ({method}; trap rate: Wilson; instability: jackknife)" if method else ""
    figure = order_effect_plot(run, summary)
    blocks: list[Block] = [
        *([figure] if figure is not None else []),
        _order_effect_grid(summary),
        Prose(
            f"Square brackets: 95 % intervals over paired seeds{kinds}. p: paired sign-flip "
            "permutation test of the order effect, adjusted by Holm over the complete grid points; "
            f"p > {SIGNIFICANT} is seed noise. A grid point with missing pairs gets no numbers.",
            "small",
        ),
        Fold("All statistics: mean, IQM, effect size, tests, seeds needed",
             statistics_blocks(summary)),
    ]  # fmt: skip
    return Section("order-effect", "Order effect", blocks)


def _order_effect_grid(summary: Summary) -> Grid:
    table = summary.order_effect
    text = order_effect_text(summary)
    complete = int((table["state"] == COMPLETE).sum())
    text["reading"] = [_reading(row, complete) for _, row in table.iterrows()]
    lead = [*summary.axes, "order effect", "p (Holm)", "reading"]
    rest = [name for name in text.columns if name not in (*lead, "state", "pairs")]
    wanted = [name for name in (*lead, *rest, "pairs") if name in text.columns]
    return grid(
        "order effect",
        text[wanted],
        data=records(table.assign(reading=text["reading"]), METHODS),
        order=deepest_first(table),
        query=sql.order_effect_query(summary.axes, summary.kind),
    )


def _reading(row: pd.Series[Any], complete: int) -> str:
    if row["state"] != COMPLETE:
        return str(row["state"])
    if not row["p_holm"] <= SIGNIFICANT:
        enough = smallest_adjusted_p(int(row["pairs"]), complete) <= SIGNIFICANT
        return "within seed noise" if enough else "too few seeds"
    slight = "slight " if abs(row["order_effect"]) < SLIGHT else ""
    return f"{slight}trap" if row["order_effect"] > 0 else f"{slight}reversal"
