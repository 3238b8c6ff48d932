"""The forecast: what the references alone promised, and how far it came true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from recalltrap_analysis.estimates.forecast import error_table, forecast_pairs, forecast_points
from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.number_format import (
    decimal_text,
    point_text,
    quantity_text,
    row_interval,
    signed_text,
)
from recalltrap_analysis.report.document.blocks import Block, Fold, Grid, Prose, Section
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.forecast import forecast_plot
from recalltrap_analysis.report.sections.grid_tables import axis_columns, deepest_first
from recalltrap_analysis.report.sections.kind_analysis import kind_blocks
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary


def forecast_section(run: ReadRun, summary: Summary) -> Section:
    """Forecast against outcome, with its error, and the forecast itself."""
    query = sql.forecast_query(summary.axes)
    pairs = forecast_pairs(summary.outcomes, summary.axes)
    table = forecast_points(summary.outcomes, summary.axes, summary.kind)
    blocks: list[Block] = [
        Prose(
            "The exact optimum of the KL-regularised objective depends on the reference and the "
            "reward alone, so it says what each ordering can reach before anything is aligned. "
            "A-K's last distillation is not part of the forecast."
        ),
        *_reliability(table, summary),
        forecast_plot(run, summary),
        *_errors(pairs, summary.axes, query),
        Fold("Forecast per grid point", [_forecast_grid(summary, table)]),
        *kind_blocks("forecast", run, summary),
    ]
    return Section("forecast", "Forecast vs outcome", blocks)


def _errors(pairs: pd.DataFrame, axes: Sequence[str], query: str) -> list[Block]:
    table = error_table(pairs, axes)
    where = ["all cells" if point is None else point_text(point, axes) for point in table["point"]]
    text = pd.DataFrame(
        {
            "where": where,
            "ordering": table["ordering"],
            "cells": table["cells"],
            "mean absolute error": [decimal_text(value, 3) for value in table["mae"]],
            "bias": [signed_text(value, 3) for value in table["bias"]],
        }
    )
    overall = [i for i, point in enumerate(table["point"]) if point is None]
    rest = [i for i in range(len(table)) if i not in overall]
    data = records(table)
    blocks: list[Block] = [
        grid("forecast error", text.iloc[overall], data=[data[i] for i in overall], query=query)
    ]
    if axes and rest:
        every = grid(
            "forecast error by grid point",
            text.iloc[rest],
            data=[data[i] for i in rest],
            query=query,
        )
        blocks.append(Fold("Forecast error per grid point", [every]))
    return blocks


def _reliability(table: pd.DataFrame, summary: Summary) -> list[Block]:
    """How well the optima are known, of a kind that computes them from samples."""
    check = summary.kind.optimum_check
    if check is None or "reliability" not in table:
        return []
    doubt = check.warning(table, summary.axes) or "All optima here are reliable."
    return [
        Prose(check.explanation(table)),
        Prose(doubt, "caveat" if "unreliable" in doubt else "small", ours=False),
    ]


def _forecast_grid(summary: Summary, table: pd.DataFrame) -> Grid:
    axes = summary.axes
    if table.empty:
        return grid("forecast", pd.DataFrame())
    measured = dict(
        zip(summary.order_effect["point"], summary.order_effect["order_effect"], strict=True)
    )
    rows = [row for _, row in table.iterrows()]
    columns = axis_columns(table, axes)
    columns["K-A can reach"] = [row_interval(row, "reward_ka") for row in rows]
    columns["p'_AK can reach"] = [row_interval(row, "reward_ak") for row in rows]
    columns["severity forecast"] = [row_interval(row, "severity") for row in rows]
    columns["order effect measured"] = [
        decimal_text(measured.get(row["point"], math.nan)) for row in rows
    ]
    columns["samples to first hit, p' / p''"] = [_both(row, "samples_to_hit") for row in rows]
    if "reliability" in table:
        assert summary.kind.optimum_check is not None
        check = summary.kind.optimum_check
        columns[f"{check.title}, p' / p''"] = [_both(row, check.column) for row in rows]
        columns["reliability"] = [str(row["reliability"]) or "reliable" for row in rows]
    if (table["state"] != COMPLETE).any():
        columns["state"] = table["state"].tolist()
    order, query = deepest_first(table), sql.forecast_query(axes)
    return grid("forecast", pd.DataFrame(columns), data=records(table), order=order, query=query)


def _both(row: pd.Series[Any], name: str) -> str:
    """A quantity of p' and of p''."""
    return f"{quantity_text(row[f'{name}_p_prime'])} / {quantity_text(row[f'{name}_p_second'])}"
