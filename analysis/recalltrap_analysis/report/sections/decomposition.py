"""Where the order effect comes from: its decomposition, and the control orderings beside it."""

from __future__ import annotations

import pandas as pd

from recalltrap.streams import stream
from recalltrap_analysis.estimates.attainment import cell_attainments
from recalltrap_analysis.estimates.controls import contrast_table
from recalltrap_analysis.estimates.decomposition import PARTS, TITLES
from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.number_format import decimal_text, p_text, row_interval
from recalltrap_analysis.report.document.blocks import Block, Fold, Grid, Prose, Section
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.decomposition import decomposition_plot, waterfall_plot
from recalltrap_analysis.report.sections.grid_tables import (
    axis_columns,
    deepest_first,
    largest_first,
)
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary


def decomposition_section(run: ReadRun, summary: Summary) -> Section:
    """The decomposition as waterfalls, and the controls that keep sharpening apart."""
    attainments = cell_attainments(summary.outcomes, summary.design)
    blocks: list[Block] = [
        Prose(
            "The order effect splits exactly into four parts. **Reference** is the structural "
            "trap: what the best possible alignment can reach from p' and from p''. The two "
            "**optimiser** parts are what each alignment reached beyond or short of that optimum "
            "(for K-A, this is where the sampling trap shows). The **last distillation** is what "
            "A-K gained by sharpening, or lost, when it was distilled."
        )
    ]
    note = next((note for note in summary.decomposition.get("note", []) if note), "")
    if note:
        blocks.append(Prose(note, "caveat"))
    check = summary.kind.optimum_check
    if check is not None and (doubt := check.warning(summary.decomposition, summary.axes)):
        blocks.append(Prose(doubt, "caveat", ours=False))
    blocks.append(waterfall_plot(run, summary))
    if (bars := decomposition_plot(run, summary)) is not None:
        blocks.append(bars)
    blocks.append(Fold("The parts with their intervals", [_parts_grid(summary)]))
    blocks += _controls(summary, attainments)
    return Section("origin", "Decomposition: where the order effect comes from", blocks)


def _parts_grid(summary: Summary) -> Grid:
    table, axes = summary.decomposition, summary.axes
    rows = [row for _, row in table.iterrows()]
    columns = axis_columns(table, axes)
    if "order_effect" in table:
        columns["order effect"] = [decimal_text(row["order_effect"]) for row in rows]
        for part in PARTS:
            columns[TITLES[part]] = [row_interval(row, part) for row in rows]
    columns["state"] = [str(state) for state in table["state"]]
    methods = dict.fromkeys(PARTS, _method_of(summary))
    return grid(
        "decomposition",
        pd.DataFrame(columns),
        data=records(table, methods),
        order=deepest_first(table),
        query=sql.decomposition_query(axes, summary.kind),
    )


def _method_of(summary: Summary) -> str:
    """The method of the means' intervals, where all grid points have one."""
    methods = [m for m in summary.order_effect.get("method", pd.Series(dtype=str)).unique() if m]
    return str(methods[0]) if len(methods) == 1 else ""


def _controls(summary: Summary, attainments: pd.DataFrame) -> list[Block]:
    table = contrast_table(attainments, summary.design, stream(0, "analysis/controls"))
    if table.empty:
        return [
            Prose(
                "This study has no control ordering (`K-A-K`, `K-A@p'`, `A`), so only the "
                "decomposition separates the last distillation from the effect of the ordering.",
                "caveat",
            )
        ]
    columns = axis_columns(table, summary.axes)
    rows = [row for _, row in table.iterrows()]
    columns["contrast"] = [str(row["contrast"]) for row in rows]
    columns["attainment"] = [row_interval(row, "difference") for row in rows]
    columns["p (Holm)"] = [p_text(row["p_holm"]) for row in rows]
    columns["what it measures"] = [str(row["meaning"]) for row in rows]
    if (table["state"] != COMPLETE).any():
        columns["state"] = table["state"].tolist()
    contrasts = grid(
        "controls",
        pd.DataFrame(columns),
        data=records(table),
        order=largest_first(table["difference"]),
        query=sql.contrast_query(summary.axes, summary.kind),
    )
    methods = " and ".join(m for m in table["method"].unique() if m)
    return [
        Prose("**Controls**: paired differences of attainment between orderings. Only A-K minus "
              "K-A-K measures the ordering itself: both end with the same distillation."),
        contrasts,
        Prose(f"95 % intervals over paired seeds ({methods or 'none'}); p: paired sign flips, "
              "Holm over the table.", "small"),
    ]  # fmt: skip
