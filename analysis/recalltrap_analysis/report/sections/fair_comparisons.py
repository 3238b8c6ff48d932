"""Two orderings compared three ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recalltrap_analysis.estimates.attainment import ATTAINMENT, unit_phrase, with_unit
from recalltrap_analysis.estimates.contrasts import (
    BEST_GRID_POINT,
    DIFFERENCE,
    EQUAL_KL_WEIGHT,
    EQUAL_RECALL,
    WITHIN_BUDGET,
)
from recalltrap_analysis.estimates.order_effect import COMPLETE, KD_THEN_ALIGN
from recalltrap_analysis.estimates.reward_recall import other_axes
from recalltrap_analysis.number_format import (
    DASH,
    count_text,
    interval_text,
    setting_text,
)
from recalltrap_analysis.report.document.blocks import Block, Grid, Prose, Record, Section
from recalltrap_analysis.report.document.grid_tables import axis_columns, largest_first
from recalltrap_analysis.report.document.tables import grid, plain
from recalltrap_analysis.report.sections.statistics_tables import rate_blocks
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import rows_of
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.margin import (
    LARGER,
    NOT_LARGER,
    SMALL_FROM,
    SMALLER,
    UNDECIDED,
    WITHIN,
    contradict,
    not_seen,
)
from recalltrap_analysis.statistics.two_way import TWO_WAY
from recalltrap_analysis.verdicts.scorer_effects import REWARD
from recalltrap_analysis.verdicts.summary import Summary

AT_POINTS = (EQUAL_KL_WEIGHT, EQUAL_RECALL, BEST_GRID_POINT)
TITLES_OF = {
    EQUAL_KL_WEIGHT: "equal KL weight",
    EQUAL_RECALL: "equal recall, interpolated",
    BEST_GRID_POINT: "equal recall, best grid point",
}
READING = ": reading"
KEY, TITLE = "comparisons", "Fair comparisons"


def fair_comparisons_section(run: ReadRun, summary: Summary) -> Section:
    """Every contrast at equal KL weight, at equal recall and within the recall budget."""
    contrasts = summary.judgement.contrasts
    if not contrasts:
        why = "no other that aligns" if KD_THEN_ALIGN in summary.design.orderings else "no K-A"
        text = (
            f"Orderings are compared with K-A, and this study has {why}. `contrasts` in the study "
            "file names others."
        )
        return Section(KEY, TITLE, [Prose(text, "absent")])
    table = summary.effects
    whole = table[(table["part"] == DIFFERENCE) & table["metric"].isin([ATTAINMENT, REWARD])]
    curved = bool((whole["comparison"] == EQUAL_RECALL).any())
    blocks: list[Block] = [_introduction(summary, curved), _points_grid(summary, whole, table)]
    if curved:
        if said := disagreement(whole):
            blocks.append(Prose(said, "caveat"))
        blocks.append(_budget_grid(summary, whole))
    blocks.append(_reading_note(summary))
    blocks += rate_blocks(summary)
    return Section(KEY, TITLE, blocks)


def _introduction(summary: Summary, curved: bool) -> Prose:
    if not curved:
        return Prose(
            "This study has one KL weight, so the orderings can be compared at that weight alone: "
            "whether another weight would give the same reward at more recall isn't known here. "
            f"Differences {unit_phrase(summary.unit)}, paired by seed."
        )
    return Prose(
        f"The same orderings compared three ways, {unit_phrase(summary.unit)} and paired by seed. "
        "**At equal KL weight** explains and doesn't decide: the weight is free to choose and "
        "binds differently under each anchor. **At equal recall** takes each model against the "
        "best reward that the other ordering reaches at that recall with any of its own weights: "
        "interpolated between them where their recalls reach that far, and without interpolation, "
        "against its best point with no worse recall. **Within a recall budget** "
        f"({summary.judgement.recall_budget:g} nats below p', seed by seed) takes the best model "
        "of each ordering, each at its own weight. In brackets behind a difference: the seeds that "
        "have one."
    )


def _reading_note(summary: Summary) -> Prose:
    judgement = summary.judgement
    level = nominal_level(judgement.looks)
    two_way = (summary.effects["method"] == TWO_WAY).any()
    prompts = ""
    if two_way:
        prompts = (
            "; of rewards, a two-way t over seeds × held-out prompts, which takes recalls as they "
            "were measured: no table has them by prompt"
        )
    return Prose(
        f"Square brackets: 95 % intervals over paired seeds (Student's t{prompts}). The readings "
        "hold a "
        f"difference against a margin of {judgement.margin:g} ({judgement.unit}) by one-sided "
        f"{100 * level:.2g} % bounds, each row by itself: {LARGER}; {WITHIN}; {SMALLER} (the first "
        f"ordering is worse by more than the margin); {NOT_LARGER} (only the upper bound lies "
        f"inside); {UNDECIDED}. With fewer than {SMALL_FROM} seeds nothing is called small: "
        f"{not_seen(SMALL_FROM - 1)}.",
        "small",
    )


def _with_seeds(row: Mapping[str, Any]) -> str:
    if row["state"] != COMPLETE:
        return DASH
    return f"{row_interval_of(row)} ({int(row['n'])})"


def row_interval_of(row: Mapping[str, Any]) -> str:
    """A comparison's difference with its interval."""
    return interval_text(row["value"], row["low"], row["high"])


def _points_grid(summary: Summary, whole: pd.DataFrame, table: pd.DataFrame) -> Grid:
    """A row per contrast and grid point, two columns per comparison; for machines all effects."""
    found: dict[tuple[str, Any], dict[str, Mapping[str, Any]]] = {}
    for row in rows_of(whole[whole["comparison"] != WITHIN_BUDGET]):
        found.setdefault((row["contrast"], row["point"]), {})[row["comparison"]] = row
    shown = [name for name in AT_POINTS if any(name in rows for rows in found.values())]
    lines, sizes = [], []
    for (contrast, point), rows in found.items():
        line = {"contrast": contrast}
        line |= dict(zip(summary.axes, map(setting_text, point), strict=True))
        for name in shown:
            line[TITLES_OF[name]] = _with_seeds(rows[name])
            line[f"{TITLES_OF[name]}{READING}"] = rows[name]["words"] or str(rows[name]["state"])
        if BEST_GRID_POINT in shown:
            best = rows[BEST_GRID_POINT]
            complete = best["dominated"] is not None
            line["dominated in"] = f"{best['dominated']} of {best['seeds']}" if complete else DASH
        lines.append(line)
        sizes.append(rows[EQUAL_KL_WEIGHT]["value"])
    shown_table = pd.DataFrame(lines)
    heads = [_head(name, summary) for name in shown_table.columns]
    return grid(
        "comparisons",
        shown_table.set_axis(heads, axis="columns"),
        data=comparison_records(table, summary.axes),
        order=largest_first(pd.Series(sizes, dtype=float)),
        query=sql.reward_recall_query(summary.axes, summary.reward_unit),
    )


def _head(name: str, summary: Summary) -> str:
    """A column's title: all readings are called one, and differences carry their unit."""
    if name.endswith(READING):
        return "reading"
    return with_unit(name, summary.unit) if name in TITLES_OF.values() else name


def comparison_records(table: pd.DataFrame, axes: Sequence[str]) -> list[Record]:
    """The rows of `effects_table` for machines: the difference with interval and bounds."""
    return [
        {name: plain(row[name]) for name in ("contrast", "part", "comparison", "metric", *axes)}
        | {
            "difference": {name: plain(row[name]) for name in ("value", "low", "high", "method")},
            "bounds": {name: plain(row[name]) for name in ("lower", "upper")},
        }
        | {name: plain(row[name]) for name in ("n", "seeds", "dominated", "words", "note", "state")}
        | {"unit": plain(row["unit"])}
        for row in table.to_dict("records")
    ]


def disagreement(whole: pd.DataFrame) -> str:
    """Where the two readings of a curve between its points differ, and whether they contradict."""
    readings = {
        name: whole[whole["comparison"] == name].set_index(["contrast", "point"])["words"]
        for name in (EQUAL_RECALL, BEST_GRID_POINT)
    }
    pairs = list(zip(readings[EQUAL_RECALL], readings[BEST_GRID_POINT], strict=True))
    apart = sum(one != two for one, two in pairs)
    if not apart:
        return ""
    said = (
        f"In {apart} of {count_text(len(pairs), 'row')} the two readings of the curve between its "
        "grid points lead to different words"
    )
    against = sum(contradict(one, two) for one, two in pairs)
    if against:
        return (
            f"{said}, and in {against} they contradict each other: with the KL weights of this "
            "study the answer at equal recall depends on how the curve is read there. More KL "
            "weights would settle it."
        )
    return (
        f"{said}, but in none do they contradict each other: one says more than the other, or "
        "leaves open what the other decides, with fewer seeds or a difference near the margin."
    )


def _budget_grid(summary: Summary, whole: pd.DataFrame) -> Grid:
    rows = whole[whole["comparison"] == WITHIN_BUDGET].reset_index(drop=True)
    axes = other_axes(summary.design, summary.kind.kl_weight)
    columns = {"contrast": rows["contrast"].tolist()} | axis_columns(rows, axes)
    columns[with_unit("within the recall budget", summary.unit)] = [
        _with_seeds(row) for row in rows_of(rows)
    ]
    columns["reading"] = [row["words"] or row["state"] for row in rows_of(rows)]
    columns["who stays within it"] = rows["note"].tolist()
    return grid(
        "recall-budget",
        pd.DataFrame(columns),
        data=comparison_records(rows, axes),
        order=largest_first(rows["value"]),
        query=sql.reward_recall_query(summary.axes, summary.reward_unit),
    )
