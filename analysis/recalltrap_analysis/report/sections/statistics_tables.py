"""Every statistic of every grid point, and other learning rates.

For the reader who doesn't take the headline's word.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.attainment import level_title
from recalltrap_analysis.estimates.order_effect import COMPLETE, by_point
from recalltrap_analysis.number_format import (
    DASH,
    estimate_text,
    interval_text,
    p_text,
    setting_text,
)
from recalltrap_analysis.report.document.blocks import Block, Items, Prose, Record
from recalltrap_analysis.report.document.tables import grid, plain, records
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.wide_tables import rows_of
from recalltrap_analysis.statistics.coverage import covers
from recalltrap_analysis.statistics.effect_sizes import (
    brown_forsythe,
    effect_size,
    interquartile_mean,
)
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.paired import STUDENT, Estimate, smallest_p
from recalltrap_analysis.statistics.seeds_needed import SeedsNeeded, seeds_for_width
from recalltrap_analysis.statistics.student import student_interval
from recalltrap_analysis.verdicts.rate_robustness import (
    AS_SET,
    rate_axes,
    rate_sentence,
    rate_table,
    rate_words,
)
from recalltrap_analysis.verdicts.summary import Summary

LEAST_PAIRS = next(n for n in range(2, 64) if smallest_p(n) <= 0.05)
"""With fewer the two-sided sign-flip test can't reject at 5 %."""
WIDTH = 0.1
"""The width of an order effect's interval that the seeds needed are told for."""


def estimate_record(estimate: Estimate | None) -> Record | None:
    """An estimate as plain values."""
    if estimate is None:
        return None
    return {
        "value": plain(estimate.value), "low": plain(estimate.low), "high": plain(estimate.high),
        "method": estimate.method, "n": estimate.n,
    }  # fmt: skip


def statistics_blocks(summary: Summary) -> list[Block]:
    """Mean and interquartile mean, effect size, tests of mean and spread, and seeds needed."""
    table = summary.order_effect[summary.order_effect["state"] == COMPLETE]
    rows: list[dict[str, Any]] = rows_of(table)
    if not rows:
        return [Prose("No grid point is complete, so there are no statistics to show.", "absent")]
    groups = by_point(summary.pairs)
    statistics = [_statistics(row, groups[row["point"]]) for row in rows]
    columns = {axis: [setting_text(row[axis]) for row in rows] for axis in summary.axes}
    columns |= {name: [_words(one[name]) for one in statistics] for name in statistics[0]}
    data = [
        {axis: plain(row[axis]) for axis in summary.axes}
        | {name: _value(value) for name, value in one.items()}
        for row, one in zip(rows, statistics, strict=True)
    ]
    sizes = np.array([-abs(float(row["order_effect"])) for row in rows])
    order = [int(i) for i in np.argsort(sizes, kind="stable")]
    query = sql.pair_query(summary.axes, summary.reward_unit)
    return [
        grid("statistics", pd.DataFrame(columns), data=data, order=order, query=query),
        Prose(
            "IQM: mean of the middle half of the seeds. d_z: paired effect size, the mean "
            "difference in units of its sd. Sign-flip p: a check beside the readings, two-sided, "
            f"of no difference at all; with fewer than {LEAST_PAIRS} pairs it can't fall below "
            "0.05, and that it doesn't is never a sign of no effect. Brown–Forsythe: p-value of "
            "equal spread of K-A's and A-K's rewards. Seeds needed in all: for "
            f"an interval of the mean no wider than {setting_text(WIDTH)}, at either end of the "
            "80 % interval of the spread.",
            "small",
        ),
        *_coverage(rows),
    ]


def rate_blocks(summary: Summary) -> list[Block]:
    """Every contrast at other learning rates; nothing where no factor of one is an axis."""
    factors = summary.kind.rate_factors
    judgement = summary.judgement
    if not rate_axes(summary.design, factors) or not judgement.contrasts:
        return []
    table = rate_table(summary.outcomes, summary.design, factors, judgement.contrasts)
    table = rate_words(table, judgement.margin, nominal_level(judgement.looks))
    others = [axis for axis in summary.axes if axis in table.columns]
    lines: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in table.to_dict("records"):
        key = (row["contrast"], *(row[axis] for axis in others))
        setting = {axis: setting_text(row[axis]) for axis in others}
        line = lines.setdefault(key, {"contrast": row["contrast"], **setting})
        if row["state"] != COMPLETE:
            line[row["case"]] = row["state"]
            continue
        line[row["case"]] = interval_text(row["value"], row["low"], row["high"])
        if row["case"] == AS_SET:
            line["reading as set"] = row["words"]
        if row["changed"]:
            line["other reading"] = "; ".join(
                [*filter(None, [line.get("other reading")]), f"{row['case']}: {row['words']}"]
            )
    cases = [str(case) for case in dict.fromkeys(table["case"])]
    named = ["contrast", *others, *cases, "reading as set", "other reading"]
    shown = pd.DataFrame(list(lines.values())).reindex(columns=named).fillna(DASH)
    return [
        Prose(
            "**Other learning rates.** A factor of one size's learning rate is moved by itself, "
            "the others as set; a dash where it moves neither ordering. **Each at its own best**: "
            f"every ordering at the factors of the highest {level_title(summary.unit)}, chosen for "
            f"each seed by the other seeds. {rate_sentence(table)}"
        ),
        grid(
            "learning-rates",
            shown,
            data=records(table.rename(columns={"value": "difference", "low": "difference_low",
                                               "high": "difference_high"})),
            query=sql.contrast_query(summary.axes, summary.reward_unit),
        ),
    ]  # fmt: skip


def _statistics(row: dict[str, Any], pairs: pd.DataFrame) -> dict[str, Any]:
    order_effect = pairs["order_effect"].to_numpy(dtype=float)
    mean = student_interval(order_effect)
    return {
        "mean": mean,
        "method": mean.method,
        "IQM": interquartile_mean(order_effect),
        "IQM's method": interquartile_mean(order_effect).method,
        "d_z": _effect(pairs),
        "sign-flip p": float(row["p_value"]),
        "Brown–Forsythe p": _equal_spread(pairs),
        "seeds needed": _needed(mean),
    }


def _effect(pairs: pd.DataFrame) -> Estimate | None:
    try:
        return effect_size(pairs["attainment_ak"], pairs["attainment_ka"])
    except ValueError:  # the differences don't vary: there is no effect size
        return None


def _equal_spread(pairs: pd.DataFrame) -> float:
    if len(pairs) < 2:
        return math.nan
    return brown_forsythe([pairs["reward_ka"], pairs["reward_ak"]])


def _needed(mean: Estimate) -> SeedsNeeded | None:
    try:
        return seeds_for_width(mean, WIDTH)
    except ValueError:  # one seed: nothing says how much seeds differ
        return None


def _words(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Estimate):
        return estimate_text(value)
    if isinstance(value, SeedsNeeded):
        return value.text()
    if isinstance(value, float):
        return p_text(value)
    return str(value)


def _value(value: Any) -> Any:
    if isinstance(value, SeedsNeeded):
        # Beyond the most that is sensible there is no number.
        high = None if value.capped else value.high
        return {"low": value.low if value.sensible else None, "high": high}
    return estimate_record(value) if isinstance(value, Estimate) else plain(value)


def _coverage(rows: list[dict[str, Any]]) -> list[Block]:
    """What the intervals were measured to cover at these numbers of seeds."""
    sizes = dict.fromkeys(int(row["pairs"]) for row in rows)
    said = [text for n in sizes if (text := covers(STUDENT, n))]
    if not said:
        return []
    return [Prose("What these intervals covered in our calibration:"), Items(said)]
