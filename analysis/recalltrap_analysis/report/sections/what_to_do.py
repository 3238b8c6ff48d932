"""What to do, first of all: the comparison at a glance, then the recommendation.

With its gain, its price and its conditions; the page's head says it in a sentence.
"""

from __future__ import annotations

import pandas as pd

from recalltrap_analysis.estimates.attainment import with_unit
from recalltrap_analysis.number_format import DASH, interval_text, setting_text, significant_text
from recalltrap_analysis.recommendation.recommendation import Recommendation
from recalltrap_analysis.recommendation.what_to_do import recommendation_records
from recalltrap_analysis.report.document.blocks import Block, Fold, Items, Prose, Section
from recalltrap_analysis.report.document.grid_tables import largest_first
from recalltrap_analysis.report.document.tables import grid
from recalltrap_analysis.report.plots.reward_recall import comparison_plots
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary

KEY, TITLE = "what-to-do", "What to do"
MOST_FOLDS = 4
"""Strata whose reasons have a line each on the page; more are folded into one."""


def what_to_do_section(run: ReadRun, summary: Summary) -> Section:
    """The curves that it rests on, then each stratum's recommendation."""
    found, overall = summary.recommendations, summary.recommendation
    details = {"recommendation": recommendation_records(found, overall)}
    curves = comparison_plots(run, summary)
    if not found:
        absent = Prose(overall.sentence, "absent", ours=False)
        return Section(KEY, TITLE, [*curves, absent], details)
    rows = [_row(one, summary) for one in found]
    blocks: list[Block] = [
        *curves,
        grid(
            "recommendation",
            pd.DataFrame(rows),
            data=[one.record() for one in found],
            order=largest_first(pd.Series([one.gain for one in found], dtype=float)),
            query=sql.reward_recall_query(summary.axes, summary.reward_unit),
        ),
        Prose(
            "The cheapest ordering that no other is shown, or left open, to beat by more than the "
            "margin: within the recall budget where each ordering keeps it at some KL weight of "
            "its own, else at equal recall. Gain, recall and cost after p' are its own minus, or "
            "over, those of the ordering it is compared with.",
            "small",
        ),
    ]
    why = [_behind(one, len(found) == 1) for one in found]
    blocks += why if len(why) <= MOST_FOLDS else [Fold("Why, stratum by stratum", why)]
    return Section(KEY, TITLE, blocks, details)


def _row(one: Recommendation, summary: Summary) -> dict[str, str]:
    row = {axis: setting_text(value) for axis, value in one.stratum.items()}
    row["what to do"] = one.word
    row["its KL weight"] = DASH if one.kl_weight is None else setting_text(one.kl_weight)
    row["compared with"] = one.against or DASH
    row[with_unit("gain", summary.unit)] = interval_text(one.gain, one.gain_low, one.gain_high)
    row["recall"] = interval_text(
        one.recall_difference, one.recall_difference_low, one.recall_difference_high
    )
    row["FLOPs"] = f"× {significant_text(one.flops_ratio, 2)}" if one.flops_ratio > 0 else DASH
    row["seeds"] = f"{one.seeds} of {one.planned_seeds}"
    return row


def _behind(one: Recommendation, alone: bool) -> Fold:
    """A stratum's sentence, reasons, conditions, and what is missing."""
    where = ", ".join(f"{axis} {setting_text(value)}" for axis, value in one.stratum.items())
    blocks: list[Block] = [] if alone else [Prose(one.sentence, ours=False)]
    for title, lines in (
        ("The comparisons behind it:", one.reasons),
        ("Seen under these conditions:", one.conditions),
        ("What would settle it:", one.missing),
    ):
        if lines:
            blocks += [Prose(title, "small"), Items(list(lines))]
    return Fold(f"Why: {one.word}{f' at {where}' if where else ''}", blocks)
