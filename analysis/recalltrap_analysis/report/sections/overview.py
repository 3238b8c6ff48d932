"""Several runs at a glance: what each one's primary endpoint says in every stratum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from recalltrap_analysis.estimates.reward_recall import other_axes
from recalltrap_analysis.number_format import DASH, interval_text
from recalltrap_analysis.recommendation.what_to_do import recommendation_records
from recalltrap_analysis.report.document.blocks import Block, Items, Prose, Record, Section
from recalltrap_analysis.report.document.tables import grid, plain, records
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import rows_of
from recalltrap_analysis.verdicts.primary import ANCHOR, stratum_text
from recalltrap_analysis.verdicts.summary import Summary


def overview_section(
    runs: Sequence[ReadRun], summaries: Sequence[Summary], refused: Sequence[str]
) -> Section:
    """One row per run and stratum; nothing is pooled over them."""
    rows: list[dict[str, str]] = []
    data: list[Record] = []
    for run, summary in zip(runs, summaries, strict=True):
        found = _strata(summary)
        rows += [
            {"study": run.study.name} | row
            for row in found or [_row(summary, summary.recommendation.word)]
        ]
        data.append(
            {"study": run.study.name, "unit": summary.unit, "verdict": summary.verdict,
             "sentence": summary.sentence,
             "primary": records(summary.primary),
             "recommendation": recommendation_records(
                 summary.recommendations, summary.recommendation
             ),
             "succeeded": plain(summary.succeeded),
             "planned": plain(summary.planned)}
        )  # fmt: skip
    blocks: list[Block] = [
        Prose(
            "Each study's primary comparison, in every stratum by itself: nothing is averaged over "
            "settings such as the teacher's sharpness, the spacing or the algorithm."
        ),
        grid("studies", pd.DataFrame(rows), data=data),
    ]
    if refused:
        blocks += [Prose("Runs that can't be read, so not in this report:"), Items(refused)]
    return Section("overview", "Studies", blocks)


def _strata(summary: Summary) -> list[dict[str, str]]:
    table = summary.primary
    anchors = {row["stratum"]: row for row in rows_of(table) if row["endpoint"] == ANCHOR}
    axes = other_axes(summary.design, summary.kind.kl_weight)
    advice = {
        stratum_text(tuple(one.stratum.values()), axes): one.word for one in summary.recommendations
    }
    rows = []
    for first in rows_of(table):
        if first["endpoint"] == ANCHOR:
            continue
        stratum = str(first["stratum"])
        anchor = anchors.get(stratum)
        row = _row(summary, advice.get(stratum, DASH))
        row |= {
            "stratum": stratum,
            "comparison": f"{first['contrast']} ({first['at']})",
            "difference": _difference(first),
            "reading": str(first["words"] or first["state"]),
            "seeds": f"{first['n']} of {first['seeds']}",
        }
        if anchor is not None:
            row["severity"] = _difference(anchor)
            row["severity's reading"] = str(anchor["words"] or anchor["state"])
        rows.append(row)
    return rows


def _row(summary: Summary, advice: str) -> dict[str, str]:
    """The row of a run that has no primary comparison."""
    return {
        "stratum": DASH,
        "comparison": DASH,
        "difference": DASH,
        "reading": summary.verdict,
        "severity": DASH,
        "severity's reading": DASH,
        "what to do": advice,
        "seeds": DASH,
        "cells": f"{summary.succeeded} of {summary.planned}",
    }


def _difference(row: Mapping[str, Any]) -> str:
    return interval_text(row["value"], row["low"], row["high"])
