"""The models by scorers that weren't optimised: effect and verdict on each beside the reward."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recalltrap_analysis.estimates.attainment import ATTAINMENT
from recalltrap_analysis.estimates.reward_recall import other_axes
from recalltrap_analysis.number_format import DASH, interval_text, setting_text
from recalltrap_analysis.report.document.blocks import Block, Prose, Section
from recalltrap_analysis.report.document.grid_tables import largest_first
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.scorer_effects import REWARD, at_words
from recalltrap_analysis.verdicts.summary import Summary

SHORT_UNIT = "sd under p'"
KEY, TITLE = "scorers", "Judged by scorers that weren't optimised"


def scorers_section(run: ReadRun, summary: Summary) -> Section | None:
    """Every contrast by the reward and by each scorer; None where no scorer judged."""
    table = summary.scores
    if table.empty:
        return None
    known = "No scorer falls where reward rises, as far as these seeds tell."
    blocks: list[Block] = [
        Prose(summary.warning or known, "caveat" if summary.warning else "", ours=False),
        _grid(summary),
        Prose(_note(summary), "small"),
    ]
    return Section(KEY, TITLE, blocks)


def _grid(summary: Summary) -> Any:
    """A row per contrast and stratum, two columns per judge."""
    axes = other_axes(summary.design, summary.kind.kl_weight)
    lines: dict[tuple[str, str], dict[str, str]] = {}
    sizes: dict[tuple[str, str], float] = {}
    readings: dict[str, str] = {}
    for row in summary.scores.to_dict("records"):
        key = (row["contrast"], row["stratum"])
        line = lines.setdefault(
            key, {"contrast": row["contrast"]} | {axis: setting_text(row[axis]) for axis in axes}
        )
        judge = row["judge"]
        title = f"{judge}, {ATTAINMENT if row['unit'] == ATTAINMENT else SHORT_UNIT}"
        readings[f"{judge}'s reading"] = "reading"
        line[title] = interval_text(row["value"], row["low"], row["high"])
        line[f"{judge}'s reading"] = row["words"] or row["state"] or DASH
        if judge == REWARD:
            sizes[key] = row["value"]
    shown = pd.DataFrame(list(lines.values()))
    heads = [readings.get(str(name), str(name)) for name in shown.columns]
    return grid(
        "scorers",
        shown.set_axis(heads, axis="columns"),
        data=records(summary.scores),
        order=largest_first(pd.Series([sizes[key] for key in lines], dtype=float)),
        query=sql.scorer_query(summary.axes),
    )


def _note(summary: Summary) -> str:
    places = dict.fromkeys(at_words(at) for at in summary.scores["at"])
    margins = dict.fromkeys(
        f"{setting_text(margin)} ({unit})"
        for margin, unit in zip(summary.scores["margin"], summary.scores["unit"], strict=True)
    )
    return (
        f"Paired differences over seeds with 95 % intervals (Student's t), {' and '.join(places)}; "
        "an ordering − p' is what its final model gained over the p' of its seed. The readings "
        f"hold a difference against a margin of {', '.join(margins)}, by Holm over the strata. "
        "Nothing was optimised for a scorer, and what is recommended rests on the reward alone. "
        "The warning is for reward and scorer that move apart, each clear of 0 by its one-sided "
        "5 % bound."
    )
