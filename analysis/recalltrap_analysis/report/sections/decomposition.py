"""Where the order effect comes from: by experiment, by the optimum, and by control orderings."""

from __future__ import annotations

import pandas as pd

from recalltrap_analysis.estimates.attainment import (
    ATTAINMENT,
    cell_attainments,
    of_unit,
    with_unit,
)
from recalltrap_analysis.estimates.controls import contrast_table
from recalltrap_analysis.estimates.decomposition import PARTS, TITLES
from recalltrap_analysis.estimates.experiment import ORDER_EFFECT
from recalltrap_analysis.estimates.experiment import PARTS as EXPERIMENT_PARTS
from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.number_format import decimal_text, row_interval
from recalltrap_analysis.report.document.blocks import Block, Fold, Grid, Prose, Section
from recalltrap_analysis.report.document.grid_tables import (
    axis_columns,
    deepest_first,
    largest_first,
)
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.decomposition import (
    PART_TITLES,
    decomposition_plot,
    experiment_plot,
    waterfall_plot,
)
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import column, rows_of
from recalltrap_analysis.statistics.paired import STUDENT
from recalltrap_analysis.statistics.student import FIELLER
from recalltrap_analysis.verdicts.summary import Summary


def decomposition_section(run: ReadRun, summary: Summary) -> Section:
    """The split by experiment, that by the optimum as its explanation, and the controls."""
    blocks: list[Block] = _experiment(summary)
    blocks.append(waterfall_plot(run, summary))
    if not summary.experiment.empty:
        blocks += _experiment_tables(summary)
    blocks += _optimum(summary)
    blocks += _controls(summary)
    return Section("origin", "Where the order effect comes from", blocks)


def _experiment(summary: Summary) -> list[Block]:
    if summary.experiment.empty:
        return [
            Prose(
                "**The order effect split by experiment** needs `K-A@p'` beside K-A and A-K, which "
                "this study doesn't have. What the anchor costs is estimated from the optima alone "
                "(**reference**, below).",
                "caveat",
            )
        ]
    return [
        Prose(
            "**The order effect split by experiment**, exact in every seed and without any "
            "optimum. **Anchor**, which is **severity**: `K-A@p'` minus K-A, the same student and "
            "start with another reference. **Size and start**: `A` (which is p'_AK) minus "
            "`K-A@p'`. **Last distillation**: A-K minus `A`. It is one path of several: swapped in "
            "another order, the parts would differ."
        )
    ]


def _experiment_tables(summary: Summary) -> list[Block]:
    table = summary.experiment
    columns = axis_columns(table, summary.axes)
    rows = rows_of(table)
    shown = (ORDER_EFFECT, *EXPERIMENT_PARTS)
    for name in shown:
        columns[with_unit(PART_TITLES[name], summary.unit)] = [
            row_interval(row, name) for row in rows
        ]
    shares = axis_columns(table, summary.axes)
    for part in EXPERIMENT_PARTS:
        shares[PART_TITLES[part]] = [row_interval(row, f"{part}_share") for row in rows]
    if (table["state"] != COMPLETE).any():
        columns["state"] = table["state"].tolist()
    methods = dict.fromkeys(shown, STUDENT)
    methods |= {f"{part}_share": FIELLER for part in EXPERIMENT_PARTS}
    order = largest_first(table[ORDER_EFFECT])
    query = sql.experiment_query(summary.axes, summary.reward_unit)
    split = grid("experiment", pd.DataFrame(columns), data=records(table, methods), order=order,
                 query=query)  # fmt: skip
    bars = experiment_plot(summary)
    return [
        *([bars] if bars is not None else []),
        split,
        Fold(
            "The parts as shares of the order effect",
            [
                grid("experiment-shares", pd.DataFrame(shares), order=order, query=query),
                Prose("Mean part divided by mean order effect, with Fieller's 95 % interval; none "
                      "where the order effect isn't clear of 0.", "small"),
            ],
        ),
    ]  # fmt: skip


def _optimum(summary: Summary) -> list[Block]:
    """The same order effect split by what the best possible alignment could reach."""
    if not column(summary.outcomes, "p_prime.optimum_reward").notna().any():
        return [
            Prose(
                "**The split by the optimum** needs the reward that the best possible alignment "
                "reaches from each reference (`optimum_reward`), which isn't known here.",
                "absent",
            )
        ]
    blocks: list[Block] = [
        Prose(
            "**The same, split by the optimum**, as the explanation. **Reference** is what the "
            "best possible alignment can reach from p' beyond what it can from p'': the structural "
            "part of the trap. The two **optimiser** parts are what each alignment reached beyond "
            "or short of that optimum (for K-A, this is where the sampling trap shows). The **last "
            "distillation** is what A-K gained by sharpening, or lost, when it was distilled."
        )
    ]
    note = next((note for note in summary.decomposition.get("note", []) if note), "")
    if note:
        blocks.append(Prose(note, "caveat"))
    check = summary.kind.optimum_check
    if check is not None and (doubt := check.warning(summary.decomposition, summary.axes)):
        blocks.append(Prose(doubt, "caveat", ours=False))
    if (bars := decomposition_plot(summary)) is not None:
        blocks.append(bars)
    return [*blocks, Fold("The parts by the optimum with their intervals", [_parts_grid(summary)])]


def _parts_grid(summary: Summary) -> Grid:
    table, axes = summary.decomposition, summary.axes
    rows = rows_of(table)
    columns = axis_columns(table, axes)
    if "order_effect" in table:
        columns[with_unit("order effect", summary.unit)] = [
            decimal_text(row["order_effect"]) for row in rows
        ]
        for part in PARTS:
            columns[with_unit(TITLES[part], summary.unit)] = [
                row_interval(row, part) for row in rows
            ]
    columns["state"] = [str(state) for state in table["state"]]
    return grid(
        "decomposition",
        pd.DataFrame(columns),
        data=records(table, dict.fromkeys(PARTS, STUDENT)),
        order=deepest_first(table),
        query=sql.decomposition_query(axes, summary.reward_unit),
    )


def _controls(summary: Summary) -> list[Block]:
    attainments = cell_attainments(summary.outcomes, summary.design)
    table = contrast_table(attainments, summary.design)
    if table.empty:
        return [
            Prose(
                "This study has no control ordering (`K-A-K`, `K-A@p'`, `A`), so only the split by "
                "the optimum separates the last distillation from the effect of the ordering.",
                "caveat",
            )
        ]
    columns = axis_columns(table, summary.axes)
    rows = rows_of(table)
    columns["contrast"] = [str(row["contrast"]) for row in rows]
    title = ATTAINMENT if summary.unit == ATTAINMENT else with_unit("difference", summary.unit)
    columns[title] = [row_interval(row, "difference") for row in rows]
    columns["what it measures"] = [str(row["meaning"]) for row in rows]
    if (table["state"] != COMPLETE).any():
        columns["state"] = table["state"].tolist()
    contrasts = grid(
        "controls",
        pd.DataFrame(columns),
        data=records(table),
        order=largest_first(table["difference"]),
        query=sql.contrast_query(summary.axes, summary.reward_unit),
    )
    return [
        Prose(f"**Controls**: paired differences {of_unit(summary.unit)} between orderings, with "
              "95 % intervals over paired seeds (Student's t). Only A-K minus K-A-K measures the "
              "ordering itself: both end with the same distillation."),
        contrasts,
    ]  # fmt: skip
