"""Several runs at a glance: what each one's primary endpoint says in every stratum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from recalltrap_analysis.number_format import DASH, interval_text
from recalltrap_analysis.report.document.blocks import Block, Items, Prose, Record, Section
from recalltrap_analysis.report.document.tables import grid, plain, records
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.primary import ANCHOR
from recalltrap_analysis.verdicts.summary import Summary


def overview_section(
    runs: Sequence[ReadRun], summaries: Sequence[Summary], refused: Sequence[str]
) -> Section:
    """One row per run and stratum; nothing is pooled over them."""
    rows: list[dict[str, str]] = []
    data: list[Record] = []
    for run, summary in zip(runs, summaries, strict=True):
        found = _strata(summary)
        rows += [{"study": run.study.name} | row for row in found or [_without(summary)]]
        data.append(
            {"study": run.study.name, "verdict": summary.verdict, "sentence": summary.sentence,
             "primary": records(summary.primary), "succeeded": plain(summary.succeeded),
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
    anchors = {row["stratum"]: row for _, row in table.iterrows() if row["endpoint"] == ANCHOR}
    rows = []
    for _, first in table.iterrows():
        if first["endpoint"] == ANCHOR:
            continue
        anchor = anchors.get(first["stratum"])
        rows.append(
            _row(
                str(first["stratum"]),
                f"{first['contrast']} ({first['at']})",
                _difference(first),
                str(first["words"] or first["state"]),
                DASH if anchor is None else _difference(anchor),
                DASH if anchor is None else str(anchor["words"] or anchor["state"]),
                f"{first['n']} of {first['seeds']}",
                summary,
            )
        )
    return rows


def _without(summary: Summary) -> dict[str, str]:
    """The row of a run that has no primary comparison."""
    return _row(DASH, DASH, DASH, summary.verdict, DASH, DASH, DASH, summary)


def _row(
    stratum: str,
    contrast: str,
    effect: str,
    words: str,
    severity: str,
    severity_words: str,
    seeds: str,
    summary: Summary,
) -> dict[str, str]:
    return {
        "stratum": stratum,
        "comparison": contrast,
        "difference": effect,
        "reading": words,
        "severity": severity,
        "severity's reading": severity_words,
        "seeds": seeds,
        "cells": f"{summary.succeeded} of {summary.planned}",
    }


def _difference(row: pd.Series[Any]) -> str:
    return interval_text(row["value"], row["low"], row["high"])
