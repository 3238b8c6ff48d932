"""The ways to hand an alignment over to a student, side by side, and which keeps most of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from recalltrap.kind import metric_of
from recalltrap_analysis.estimates.attainment import level_title, with_unit
from recalltrap_analysis.estimates.candidates import spent_after_p_prime
from recalltrap_analysis.estimates.costs import known_costs
from recalltrap_analysis.estimates.handovers import (
    AT_EQUAL_COST,
    AT_EQUAL_RECALL,
    AT_EQUAL_WEIGHT,
    DIFFERENCES,
    PER_FLOP,
    RECALL_GAINED,
    base_of,
    handover_table,
    handovers,
    over_weights,
)
from recalltrap_analysis.estimates.reward_recall import other_axes
from recalltrap_analysis.number_format import (
    DASH,
    count_text,
    interval_text,
    point_text,
    quantity_text,
    row_interval,
    setting_text,
    share_text,
    significant_text,
)
from recalltrap_analysis.report.document.blocks import Block, Items, Prose, Section
from recalltrap_analysis.report.document.grid_tables import largest_first
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import rows_of
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.margin import LARGER, WITHIN, margin_words
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.student import one_sided_bounds, student_interval
from recalltrap_analysis.verdicts.summary import Summary

KEY, TITLE = "handovers", "Handing the alignment over"
TITLES = {
    AT_EQUAL_WEIGHT: "at equal KL weight and updates of the alignment",
    AT_EQUAL_RECALL: "at equal recall",
    AT_EQUAL_COST: "at equal cost",
    PER_FLOP: "per FLOP",
}


def handovers_section(run: ReadRun, summary: Summary) -> Section | None:
    """Every handover's reward, recall and cost, against A-K; None where there is one at most."""
    names = handovers(run.study.orderings)
    names = [name for name in names if name in set(summary.design.orderings)]
    if len(names) < 2:
        return None
    kl_weight = summary.kind.kl_weight
    wanted = [cell for cell in summary.cells if cell.ordering.name in names]
    costs = known_costs(run.frame("costs"))
    spending = spent_after_p_prime(costs, wanted, summary.axes, summary.kind)
    table = handover_table(summary.outcomes, summary.design, names, kl_weight, spending)
    if table.empty:
        return None
    base = base_of(names)
    found = list(over_weights(summary.outcomes, summary.design, names, kl_weight, spending))
    answers = [answer for _, answer in _answers(summary, base, found)]
    blocks: list[Block] = [
        Items(answers) if len(answers) > 1 else Prose("".join(answers), ours=False),
        _grid(summary, table, base),
        Prose(_note(summary, table, base), "small"),
    ]
    return Section(KEY, TITLE, blocks, {KEY: answers})


def _answers(
    summary: Summary, base: str, found: Sequence[tuple[tuple[object, ...], str, dict[str, Array]]]
) -> list[tuple[tuple[object, ...], str]]:
    """Per stratum: who keeps most, at equal recall or at the one weight, and per FLOP."""
    axes = other_axes(summary.design, summary.kind.kl_weight)
    answers = []
    for stratum in dict.fromkeys(place for place, _, _ in found):
        theirs = {name: kinds for place, name, kinds in found if place == stratum}
        first = AT_EQUAL_RECALL
        if not any(math.isfinite(_mean(kinds[first])) for kinds in theirs.values()):
            first = AT_EQUAL_WEIGHT
        parts = [_best(summary, base, theirs, kind) for kind in (first, PER_FLOP)]
        if first == AT_EQUAL_WEIGHT:
            parts.insert(1, _at_more_recall(summary, theirs))
        where = f"{point_text(stratum, axes)}: " if axes else ""
        text = f"{where}{'; '.join(part for part in parts if part)}."
        answers.append((stratum, text if where else text[:1].upper() + text[1:]))
    return answers


def _best(summary: Summary, base: str, theirs: dict[str, dict[str, Array]], kind: str) -> str:
    """Which handover keeps most by one comparison, against the base, in words."""
    known = {name: kinds[kind] for name, kinds in theirs.items()}
    known = {name: values for name, values in known.items() if math.isfinite(_mean(values))}
    if not known:
        return ""
    judgement = summary.judgement
    best = max(known, key=lambda name: _mean(known[name]))
    values = known[best][pd.notna(known[best])]
    estimate = student_interval(values)
    lower, upper = one_sided_bounds(estimate, nominal_level(judgement.looks))
    words = margin_words(lower, upper, estimate.n, judgement.margin)
    interval = interval_text(estimate.value, estimate.low, estimate.high)
    of = f"{interval} {summary.unit}, {count_text(estimate.n, 'seed')}: {words}"
    where = TITLES[kind]
    if words == LARGER:
        return f"{where} {best} keeps most of the alignment ({best} − {base} {of})"
    return f"{where} nothing is shown to keep more than {base} does (most is {best}'s {of})"


def _at_more_recall(summary: Summary, theirs: dict[str, dict[str, Array]]) -> str:
    """Which handovers keep as much as the base at its KL weight, and have more recall, in words:
    what can be said of recall where it can't be made equal."""
    judgement, unit = summary.judgement, metric_of(summary.metrics, "overall_recall").unit
    level = nominal_level(judgement.looks)
    found = []
    for name, kinds in theirs.items():
        differences = [kinds[AT_EQUAL_WEIGHT], kinds[RECALL_GAINED]]
        if not all(math.isfinite(_mean(values)) for values in differences):
            continue
        kept, gained = (student_interval(values[pd.notna(values)]) for values in differences)
        bounds = one_sided_bounds(kept, level)
        no_less = margin_words(*bounds, kept.n, judgement.margin) in (WITHIN, LARGER)
        if no_less and one_sided_bounds(gained, level)[0] > 0:
            found.append(f"{name} with {interval_text(gained.value, gained.low, gained.high)}")
    if not found:
        return ""
    return f"as much is kept, at more recall, by {' and by '.join(found)} {unit} more".rstrip()


def _mean(values: Array) -> float:
    known = values[pd.notna(values)]
    return float(known.mean()) if len(known) else math.nan


def _grid(summary: Summary, table: pd.DataFrame, base: str) -> Block:
    rows = rows_of(table)
    spent = {(row["point"], row["ordering"]): row["flops"] for row in rows}
    unit = summary.unit
    columns: dict[str, list[str]] = {
        axis: [setting_text(row[axis]) for row in rows] for axis in summary.axes
    }
    columns["ordering"] = [row["ordering"] for row in rows]
    columns["reward"] = [row_interval(row, "reward") for row in rows]
    columns[level_title(unit)] = [row_interval(row, "attainment") for row in rows]
    columns[with_unit("minus p'_AK", unit)] = [row_interval(row, "kept") for row in rows]
    columns["seeds below half"] = [
        share_text(row["below_half"]) if math.isfinite(row["below_half"]) else DASH for row in rows
    ]
    columns["overall recall"] = [row_interval(row, "overall_recall") for row in rows]
    if table["target_precision"].notna().any():
        columns["target precision"] = [row_interval(row, "target_precision") for row in rows]
    if table[RECALL_GAINED].notna().any():
        columns[f"recall − {base}'s at equal KL weight"] = [
            DASH if row["ordering"] == base else row_interval(row, RECALL_GAINED) for row in rows
        ]
    columns["FLOPs after p'"] = [
        _cost(row["flops"], spent.get((row["point"], base), math.nan)) for row in rows
    ]
    for kind in DIFFERENCES:
        if table[kind].notna().any():
            title = with_unit(f"− {base} {TITLES[kind]}", unit)
            columns[title] = [
                DASH if row["ordering"] == base else row_interval(row, kind) for row in rows
            ]
    return grid(
        "handovers",
        pd.DataFrame(columns),
        data=records(table),
        order=largest_first(table[AT_EQUAL_WEIGHT]),
        query=sql.reward_recall_query(summary.axes, summary.reward_unit),
    )


def _cost(flops: float, of_base: float) -> str:
    if not math.isfinite(flops):
        return DASH
    times = flops / of_base
    return f"{quantity_text(flops)} (× {significant_text(times, 2)})" if times > 0 else DASH


def _note(summary: Summary, table: pd.DataFrame, base: str) -> str:
    text = (
        "All of these align p' first; they differ in how a student learns from the aligned model. "
        f"Differences are paired by seed, each against {base}, with 95 % intervals (Student's t). "
        "**Minus p'_AK** is what the student lost of the model that it learned from, or gained. "
        f"**Per FLOP** is its attainment for the FLOPs that {base} takes after p', in proportion, "
        f"minus {base}'s. FLOPs are of everything between p' and the final model: alignment, "
        "samples, students that others go on from, and models that score."
    )
    if not table[AT_EQUAL_COST].notna().any():
        text += (
            " At equal cost they can be read where the study varies what a student costs, for "
            "instance its epochs."
        )
    if not table[AT_EQUAL_RECALL].notna().any():
        text += " With one KL weight there is no comparison at equal recall."
    return text
