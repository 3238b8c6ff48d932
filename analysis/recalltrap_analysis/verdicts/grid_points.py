"""The effects at every grid point held against the margin: detail beside the primary endpoint.

By one-sided p-values, adjusted by Holm over the grid points and for every look. One rule for the
table's reading, the figures' fillings and the map's borders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.order_effect import (
    COMPLETE,
    ESTIMATED,
    KD_THEN_ALIGN,
    by_prompt,
    planned_points,
    point_severity,
    severity_source,
)
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.statistics.margin import LARGER, SMALLER
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.two_way import TWO_WAY
from recalltrap_analysis.verdicts.judgement import Judgement
from recalltrap_analysis.verdicts.primary import Sample, judged

WORDS: Mapping[str, str] = {"order_effect": "words", "severity": "severity_words"}
"""The column that has the words, by the effect's."""


def judged_points(
    table: pd.DataFrame,
    pairs: pd.DataFrame,
    design: Design,
    judgement: Judgement,
    doubts: Mapping[GridPoint, str],
) -> pd.DataFrame:
    """The order effect's table with `words` and `severity_words`, empty where there is no number.

    Args:
        table: As `order_effect_table` returns it.
        pairs: Rows of `pair_orderings`.
        design: What was planned.
        judgement: Of the run.
        doubts: What is wrong with the optima, by grid point. A severity that is estimated from
            them has that for words, and isn't judged.
    """
    if "severity_state" not in table:  # no grid points at all
        return table.assign(words="", severity_words="")
    measured = severity_source(design) != ESTIMATED
    effects: dict[GridPoint, Sample] = {}
    severities: dict[GridPoint, Sample] = {}
    for point, (state, rows) in planned_points(design, pairs).items():
        n = len(design.seeds.get((point, KD_THEN_ALIGN), ()))
        effects[point] = severities[point] = Sample(None, state, n)
        if state != COMPLETE:
            continue
        order_effect_N = rows["order_effect"].to_numpy(dtype=float)
        effects[point] = Sample(order_effect_N, state, n, by_prompt(rows, "order_effect"))
        state, values_N = point_severity(design, point, rows)
        doubt = "" if measured else doubts.get(point, "")
        known = state == COMPLETE and not doubt
        of_prompts = by_prompt(rows, "severity") if measured and known else None
        severities[point] = Sample(values_N if known else None, doubt or state, n, of_prompts)
    found = {"order_effect": judged(effects, judgement), "severity": judged(severities, judgement)}
    words = {point: row["words"] for point, row in found["order_effect"].items()}
    severity_words = {
        point: row["words"] or ("" if measured else doubts.get(point, ""))
        for point, row in found["severity"].items()
    }
    return _over_prompts(table, found).assign(
        words=[words[point] for point in table["point"]],
        severity_words=[severity_words[point] for point in table["point"]],
    )


def _over_prompts(
    table: pd.DataFrame, found: Mapping[str, Mapping[GridPoint, Mapping[str, Any]]]
) -> pd.DataFrame:
    """The table with the effects' intervals over seeds × prompts, where those are known."""
    table = table.copy()
    for name, rows in found.items():
        for place, point in zip(table.index, table["point"], strict=True):
            if rows[point]["method"] == TWO_WAY:
                ends = [name, f"{name}_low", f"{name}_high"]
                table.loc[place, ends] = [rows[point][end] for end in ("value", "low", "high")]
    return table


def concluded_signs(table: pd.DataFrame, name: str = "order_effect") -> Array:
    """What is concluded at every row: 1 larger than the margin, -1 smaller, 0 neither.

    Args:
        table: As `judged_points` returns it.
        name: `order_effect` or `severity`.
    """
    words = table[WORDS[name]]
    return np.where(words == LARGER, 1.0, np.where(words == SMALLER, -1.0, 0.0))
