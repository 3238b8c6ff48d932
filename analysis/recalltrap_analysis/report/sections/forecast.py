"""The forecast of the anchor part: what the references alone promised, and how wrong it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.attainment import unit_in_sql
from recalltrap_analysis.estimates.order_effect import ANCHORED_TO_P_PRIME, by_point
from recalltrap_analysis.forecast.best_of_n import best_of_n_rows
from recalltrap_analysis.forecast.errors import (
    ANCHOR_PART,
    QUANTITIES,
    WAYS,
    error_table,
    scored_rows,
)
from recalltrap_analysis.forecast.table import AnchorForecast, forecast_of
from recalltrap_analysis.forecast.text import table_text
from recalltrap_analysis.number_format import row_interval, setting_text, signed_text
from recalltrap_analysis.report.check.scored import check_blocks
from recalltrap_analysis.report.document.blocks import Block, Fold, Grid, Prose, Section
from recalltrap_analysis.report.document.grid_tables import largest_first
from recalltrap_analysis.report.document.kind_analysis import kind_blocks
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.forecast import OverKlWeight, forecast_plots
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary

Row: TypeAlias = Mapping[str, Any]
DIGITS = 3
"""Of errors, which are small against what they are errors of."""


def forecast_section(run: ReadRun, summary: Summary) -> Section:
    """Forecast and outcome over the KL weight, with the error, and the forecast itself."""
    axes, kind = summary.axes, summary.kind
    best = best_of_n_rows(summary.cells, axes, kind, run.store)
    found = forecast_of(summary.outcomes, best, summary.design, kind, run.study.margin)
    rows = scored_rows(found.rows, summary.outcomes, axes)
    errors = error_table(rows, axes, kind.kl_weight, found.unit)
    blocks: list[Block] = [
        Prose(
            "The forecast is of the **anchor part**, a*(p') − a*(p''): how much more alignment can "
            "attain anchored to p' than to p'', from samples of the references and the reward "
            "alone, before anything is aligned. It is not of the order effect: it leaves A-K's "
            "last distillation out, and the two can differ in sign."
        ),
        Prose(
            "Two ways. The **optimum** of the KL-regularised objective, anchored to each "
            "reference. And **best of n**: the best of n samples of the reference, at the n with "
            "the largest E_n − β·KL_n. That bounds the optimum's objective from below; its reward "
            "is an estimate, and the difference of two lower bounds bounds nothing."
        ),
        *check_blocks(run, rows, found.unit),
        *_reliability(found),
        *_unmeasured(summary, rows),
        *_kind_notes(summary),
        *forecast_plots(OverKlWeight(rows, errors, axes, kind, found.unit)),
        *_errors(errors, summary),
        Fold("Forecast of the anchor part per grid point", [_forecast_grid(found, rows)]),
        *kind_blocks("forecast", run, summary),
    ]
    return Section("forecast", "Forecast of the anchor part, and its error", blocks)


def _kind_notes(summary: Summary) -> list[Block]:
    """What the kind has to say of its optima under the settings of the grid."""
    notes = [summary.kind.optimum_note(found) for found in summary.design.settings.values()]
    return [Prose(note, "caveat", ours=False) for note in dict.fromkeys(notes) if note]


def _unmeasured(summary: Summary, rows: pd.DataFrame) -> list[Block]:
    if np.isfinite(rows["measured_anchor_part"].to_numpy(dtype=float)).any():
        return []
    planned = ANCHORED_TO_P_PRIME in summary.design.orderings
    why = "has no pair with K-A yet" if planned else "is not among the study's orderings"
    return [
        Prose(
            f"The anchor part itself was not measured: {ANCHORED_TO_P_PRIME} {why}. Only the "
            "rewards of the orderings that ran score the forecast.",
            "absent",
        )
    ]


def _errors(errors: pd.DataFrame, summary: Summary) -> list[Block]:
    """The anchor part's error by KL weight; the rewards' on demand, unless there is no more."""
    anchor, *rewards = (errors[errors["quantity"] == one.title] for one in QUANTITIES)
    known = [found for found in rewards if len(found)]
    query = sql.forecast_query(summary.axes)
    grids = [
        _error_grid(f"forecast error: {found['quantity'].iloc[0]}", found, summary, query)
        for found in known
    ]
    if len(anchor):
        query = sql.anchor_forecast_query(summary.axes, summary.reward_unit)
        words = (
            "Errors are forecast minus measured, per seed: their mean size, and their mean, the "
            "bias, with 95 % intervals. Over all KL weights together they hide how the error grows "
            "with it."
        )
        first = _error_grid(f"forecast error: {ANCHOR_PART}", anchor, summary, query)
        rest: list[Block] = [Fold("Forecast error of the rewards", grids)] if grids else []
        return [Prose(words, "small"), first, *rest]
    return list(grids)


def _error_grid(name: str, errors: pd.DataFrame, summary: Summary, query: str) -> Grid:
    """One row per grid point, and one for all KL weights of a stratum; both ways side by side."""
    axes, weight = summary.axes, summary.kind.kl_weight
    lines: dict[tuple[Any, ...], dict[str, Row]] = {}
    for line in errors.to_dict("records"):
        row: Row = {str(name): value for name, value in line.items()}
        lines.setdefault(tuple(row[axis] for axis in axes), {})[str(row["way"])] = row
    table = []
    for factors, ways in lines.items():
        either = next(iter(ways.values()))
        texts = {
            axis: "all together" if axis == weight and either["point"] is None else
            setting_text(value) for axis, value in zip(axes, factors, strict=True)
        }  # fmt: skip
        texts["seeds"] = str(either["seeds"])
        texts[f"measured, {either['unit']}"] = row_interval(either, "measured")
        for way in WAYS:
            one = ways.get(way)
            texts[f"forecast, {way}"] = _interval(one, "forecast", 2)
            texts[f"error, {way}"] = _interval(one, "mean_absolute_error", DIGITS)
            texts[f"bias, {way}"] = "–" if one is None else _bias(one)
        table.append(texts)
    largest = [max(r["mean_absolute_error"] for r in ways.values()) for ways in lines.values()]
    order = largest_first(pd.Series(largest, dtype=float))
    data = records(errors.assign(method="Student's t"))
    return grid(name, pd.DataFrame(table), data=data, order=order, query=query)


def _bias(row: Row) -> str:
    return signed_text(round(float(row["bias"]), DIGITS) + 0.0, DIGITS)  # no negative zero


def _interval(row: Row | None, name: str, digits: int) -> str:
    return "–" if row is None else row_interval(row, name, digits)


def _reliability(found: AnchorForecast) -> list[Block]:
    """How well the optima are known, of a kind that computes them from samples."""
    blocks: list[Block] = []
    if found.no_best_of_n:
        blocks.append(Prose(f"Best of n is lacking: {found.no_best_of_n}.", "absent", ours=False))
    check, table = found.kind.optimum_check, found.points
    if check is not None and "reliability" in table:
        doubt = check.warning(table, found.axes) or "All optima here are reliable."
        blocks.append(Prose(check.explanation(table)))
        blocks.append(Prose(doubt, "caveat" if "unreliable" in doubt else "small", ours=False))
    return blocks


def _forecast_grid(found: AnchorForecast, rows: pd.DataFrame) -> Grid:
    """The forecast's table, with the measured anchor part beside it."""
    if found.points.empty:
        return grid("forecast", pd.DataFrame())
    text = table_text(found)
    at_point = by_point(rows)
    values = [
        float(at_point[point]["measured_anchor_part"].mean(skipna=False))
        for point in found.points["point"]
    ]
    place = list(text.columns).index("on the margin")
    text.insert(place, "measured", [signed_text(value) for value in values])
    if "reliability" in found.points:
        text["reliability"] = [words or "reliable" for words in found.points["reliability"]]
    return grid(
        "forecast",
        text,
        data=records(found.points.assign(measured_anchor_part=values)),
        order=largest_first(found.points["anchor_part"]),
        query=sql.anchor_forecast_query(found.axes, unit_in_sql(found.kind, found.unit)),
    )
