"""What the order does and what the anchor does: the primary endpoint, then the grid."""

from __future__ import annotations

import pandas as pd

from recalltrap_analysis.estimates.attainment import ATTAINMENT, named_levels, with_unit
from recalltrap_analysis.estimates.order_effect import (
    ANCHORED_TO_P_PRIME,
    BEYOND_MARGIN,
    TRAP_RATE,
)
from recalltrap_analysis.number_format import (
    DASH,
    interval_text,
    p_text,
    setting_text,
    significant_text,
)
from recalltrap_analysis.report.document.blocks import Block, Fold, Grid, Prose, Section
from recalltrap_analysis.report.document.grid_tables import axis_columns, deepest_first
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.order_effect import order_effect_plot
from recalltrap_analysis.report.sections.statistics_tables import statistics_blocks
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import rows_of
from recalltrap_analysis.statistics.margin import SMALL_FROM
from recalltrap_analysis.statistics.paired import JACKKNIFE, STUDENT, WILSON
from recalltrap_analysis.statistics.two_way import TWO_WAY
from recalltrap_analysis.verdicts.summary import (
    READING,
    SEVERITY_READING,
    Summary,
    order_effect_text,
)

METHODS = {TRAP_RATE: WILSON, BEYOND_MARGIN: WILSON, "instability_ratio": JACKKNIFE}
KEY, TITLE = "order-effect", "Order effect and severity"


def order_effect_section(run: ReadRun, summary: Summary) -> Section:
    """The primary endpoint, and both effects over the grid with every statistic behind them."""
    blocks: list[Block] = []
    if not summary.primary.empty:
        blocks += [_primary_grid(summary), _primary_note(summary)]
    figure = order_effect_plot(run, summary)
    blocks += [figure] if figure is not None else []
    blocks += [
        _order_effect_grid(summary),
        Prose(_note(summary), "small"),
        Fold("All statistics: mean, IQM, effect size, tests, seeds needed",
             statistics_blocks(summary)),
    ]  # fmt: skip
    return Section(KEY, TITLE, blocks)


def _primary_grid(summary: Summary) -> Grid:
    """One row per stratum and endpoint, as the headline reads them."""
    table = summary.primary
    axes = [axis for axis in summary.axes if axis in table]
    rows = rows_of(table)
    columns = axis_columns(table, axes)
    columns["comparison"] = [f"{row['contrast']} ({row['endpoint']})" for row in rows]
    columns[with_unit("difference", summary.unit)] = [
        interval_text(row["value"], row["low"], row["high"]) for row in rows
    ]
    columns["one-sided bounds"] = [
        f"{significant_text(row['lower'], 2)} to {significant_text(row['upper'], 2)}"
        if row["n"] > 1
        else DASH
        for row in rows
    ]
    columns[READING] = [row["words"] or str(row["state"]) for row in rows]
    columns["p, larger"] = [p_text(row["p_larger"]) for row in rows]
    columns["p, not larger"] = [p_text(row["p_not_larger"]) for row in rows]
    columns["seeds"] = [f"{row['n']} of {row['seeds']}" for row in rows]
    columns["to settle it"] = [row["more_seeds"] or DASH for row in rows]
    return grid(
        "primary",
        pd.DataFrame(columns),
        data=records(
            table.rename(columns={"value": "difference", "low": "difference_low",
                                  "high": "difference_high"}),
            {"difference": TWO_WAY if "method" in summary.primary else STUDENT},
        ),
        query=sql.reward_recall_query(summary.axes, summary.reward_unit),
    )  # fmt: skip


def _primary_note(summary: Summary) -> Prose:
    judgement = summary.judgement
    looks = judgement.looks
    level = summary.primary["level"].iloc[0]
    looked = (
        f" It was, or is to be, looked at with {', '.join(map(str, looks))} seeds, so p is held "
        f"against {significant_text(level)} each time."
        if len(looks) > 1
        else ""
    )
    strata = summary.primary["stratum"].nunique()
    shared = f", by Holm over {strata} strata" if strata > 1 else ""
    return Prose(
        "**The primary comparison**: what this study is run to decide, and all that the headline "
        "rests on. "
        f"Square brackets: 95 % intervals ({interval_words(summary)}). p: one-sided, on the margin "
        f"of {setting_text(judgement.margin)} ({judgement.unit}){shared}; a reading needs p below "
        "0.05. The anchor part is judged only where the first comparison is larger or smaller, so "
        f"both together keep that risk.{looked}",
        "small",
    )


def interval_words(summary: Summary) -> str:
    """What the intervals of effects are."""
    if "method" not in summary.primary:
        return "Student's t"
    return "of rewards: two-way t over seeds × held-out prompts, else Student's t"


def _note(summary: Summary) -> str:
    table = summary.order_effect
    against = table["trap_rate_against"].iloc[0] if "trap_rate_against" in table else ""
    trap = "Trap rate: share of seeds in which K-A attains less than half while its paired "
    trap += f"{against} attains at least half (Wilson)"
    if BEYOND_MARGIN in table:
        trap = "The reward has no supremum, so nothing attains half of it and there is no trap "
        trap += "rate; seeds beyond the margin: share of seeds in which the paired "
        trap += f"{against} is above K-A by more than the margin (Wilson)"
    if against != ANCHORED_TO_P_PRIME:
        trap += "; against K-A@p', which this study doesn't have, it would be the anchor's alone"
    in_words = "" if summary.unit == ATTAINMENT else f" ({summary.unit})"
    return (
        "Detail: every grid point by itself. Square brackets: 95 % intervals over paired seeds "
        f"({interval_words(summary)}; instability: jackknife). Readings hold an effect against the "
        f"margin of {setting_text(summary.judgement.margin)}{in_words} by one-sided p-values, "
        f"adjusted by Holm over the grid points; with fewer than {SMALL_FROM} seeds nothing is "
        f"called small. {trap}. "
        "A grid point with missing pairs gets no numbers."
    )


def _order_effect_grid(summary: Summary) -> Grid:
    table = summary.order_effect
    text = order_effect_text(summary)
    data = named_levels(table.drop(columns=["p_value"], errors="ignore"), summary.unit)
    if len(text.columns) > len(summary.axes):
        data = data.assign(
            reading=text[READING].tolist(), severity_reading=text[SEVERITY_READING].tolist()
        )
    means = [str(name) for name in data if f"{name}_low" in data and name not in METHODS]
    return grid(
        "order effect",
        text,
        data=records(data, METHODS | dict.fromkeys(means, STUDENT)),
        order=deepest_first(table),
        query=sql.order_effect_query(summary.axes, summary.reward_unit),
    )
