"""`write_report`: a run as one HTML page that explains itself, with its figures as files beside it.

Gathers what the other modules computed and hands it to the template; computes nothing itself.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from recalltrap_analysis.costs import cost_table, unshared_seconds
from recalltrap_analysis.decomposition import PARTS
from recalltrap_analysis.decomposition import TITLES as PART_TITLES
from recalltrap_analysis.forecast import error_table, forecast_pairs, forecast_points
from recalltrap_analysis.gaps import count_table, describe, failure_groups
from recalltrap_analysis.outcomes import label, show
from recalltrap_analysis.pictures import all_pictures
from recalltrap_analysis.run import StoredRun
from recalltrap_analysis.severity import COMPLETE, severity_query
from recalltrap_analysis.summary import (
    SIGNIFICANT,
    SLIGHT,
    Summary,
    interval_text,
    severity_text,
    smallest_adjusted_p,
    summarize,
)

ROWS_SHOWN = 24
NUMBER = re.compile(r"[-+–∞]?[\d.]*(e[-+]\d+)?[kMG]?( \[.*\]| of \d+| / .*)?$")


def write_report(results: StoredRun) -> str:
    """Write `<run>/report/index.html` and `<run>/report/figures/*`; returns the page's path."""
    summary = summarize(results)
    scored = forecast_pairs(summary.outcomes, summary.axes)
    pictures = all_pictures(results, summary, scored)
    folder = f"{results.run}/report"
    for picture in pictures:
        if picture.svg:
            results.storage.write(f"{folder}/figures/{picture.stem}.svg", picture.svg)
            results.storage.write(f"{folder}/figures/{picture.stem}.pdf", picture.pdf)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            study=results.study,
            summary=summary,
            figures={
                picture.stem: {
                    "svg": Markup(picture.inline()) if picture.svg else None,
                    "caption": picture.caption,
                }
                for picture in pictures
            },
            severity=_severity_rows(summary),
            method=_method(summary),
            decomposition=_decomposition_rows(summary),
            dpo_note=next((note for note in summary.decomposition.get("note", []) if note), ""),
            forecast=_forecast_rows(summary),
            forecast_error=_error_rows(scored, summary.axes),
            cost=_cost(results, summary),
            gaps=_gaps(results, summary),
            provenance=_flat(results.provenance()),
            query=severity_query(summary.axes),
            significant=SIGNIFICANT,
        )
    )
    results.storage.write(f"{folder}/index.html", page.encode())
    return results.storage.display(f"{folder}/index.html")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recalltrap_analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["amount"] = amount
    return environment


def amount(value: float) -> str:
    """A quantity in at most four signs, e.g. ``1.2k``, ``3.4M``, ``5.6e+12``."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    for limit, factor, suffix in ((1e4, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (1e12, 1e9, "G")):
        if abs(value) < limit:
            return (
                f"{value / factor:.3g}{suffix}"
                if abs(value) < 1e3
                else f"{value / factor:.4g}{suffix}"
            )
    return f"{value:.2e}"


def _table(frame: pd.DataFrame, order: Sequence[int] | None = None) -> dict[str, Any]:
    """Header and rows of text; `order` names the rows that are shown first, the rest folds."""
    rows = [[_unbroken(str(value)) for value in row] for row in frame.itertuples(index=False)]
    folded = order is not None and len(rows) > ROWS_SHOWN
    return {
        "head": [str(name).replace("_", "_\u200b") for name in frame.columns],  # may break there
        "words": [
            not all(NUMBER.match(cell) for cell in column) for column in zip(*rows, strict=True)
        ],
        "rows": [rows[i] for i in sorted(order[:ROWS_SHOWN])] if order and folded else rows,
        "more": rows if folded else [],
        "more_title": f"The {ROWS_SHOWN} deepest are shown. All {len(rows)} rows",
    }


def _unbroken(text: str) -> str:
    """Keeps an interval's brackets on one line."""
    return re.sub(r", (?=[^\[]*\])", ",\N{NO-BREAK SPACE}", text)


def _deepest_first(table: pd.DataFrame) -> list[int]:
    values = table["severity"].abs().fillna(-1.0).tolist() if "severity" in table else []
    return sorted(range(len(values)), key=lambda i: -values[i])


def _severity_rows(summary: Summary) -> dict[str, Any]:
    table = summary.severity
    text = severity_text(table, summary.axes)
    complete = int((table["state"] == COMPLETE).sum())
    text["reading"] = [_reading(row, complete) for _, row in table.iterrows()]
    lead = [*summary.axes, "severity", "p (Holm)", "reading"]
    rest = [name for name in text.columns if name not in (*lead, "state", "pairs")]
    wanted = [name for name in (*lead, *rest, "pairs") if name in text.columns]
    return _table(text[wanted], _deepest_first(table))


def _reading(row: pd.Series[Any], complete: int) -> str:
    if row["state"] != COMPLETE:
        return str(row["state"])
    if not row["p_holm"] <= SIGNIFICANT:
        enough = smallest_adjusted_p(int(row["pairs"]), complete) <= SIGNIFICANT
        return "within seed noise" if enough else "too few seeds"
    slight = "slight " if abs(row["severity"]) < SLIGHT else ""
    return f"{slight}trap" if row["severity"] > 0 else f"{slight}reversal"


def _method(summary: Summary) -> str:
    methods = [m for m in summary.severity.get("method", pd.Series(dtype=str)).unique() if m]
    return " and ".join(methods)


def _decomposition_rows(summary: Summary) -> dict[str, Any]:
    table, axes = summary.decomposition, summary.axes
    rows = [row for _, row in table.iterrows()]
    columns: dict[str, list[str]] = {axis: [show(v) for v in table[axis]] for axis in axes}
    if "severity" in table:
        columns["severity"] = [_number(row["severity"]) for row in rows]
        for part in PARTS:
            columns[PART_TITLES[part]] = [interval_text(row, part) for row in rows]
    columns["state"] = [str(state) for state in table["state"]]
    return _table(pd.DataFrame(columns), _deepest_first(table))


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _forecast_rows(summary: Summary) -> dict[str, Any]:
    axes = summary.axes
    table = forecast_points(summary.outcomes, axes)
    if table.empty:
        return _table(pd.DataFrame())
    measured = dict(zip(summary.severity["point"], summary.severity["severity"], strict=True))
    rows = [row for _, row in table.iterrows()]
    columns: dict[str, list[str]] = {axis: [show(v) for v in table[axis]] for axis in axes}
    columns["K-A can reach"] = [interval_text(row, "reward_ka") for row in rows]
    columns["p'_AK can reach"] = [interval_text(row, "reward_ak") for row in rows]
    columns["severity forecast"] = [interval_text(row, "severity") for row in rows]
    columns["severity measured"] = [_number(measured.get(row["point"], math.nan)) for row in rows]
    columns["samples to first hit, p' / p''"] = [
        f"{amount(row['samples_to_hit_p_prime'])} / {amount(row['samples_to_hit_p_second'])}"
        for row in rows
    ]
    if (table["state"] != COMPLETE).any():
        columns["state"] = table["state"].tolist()
    return _table(pd.DataFrame(columns), _deepest_first(table))


def _error_rows(pairs: pd.DataFrame, axes: Sequence[str]) -> dict[str, Any]:
    table = error_table(pairs, axes)
    where = ["all cells" if point is None else label(point, axes) for point in table["point"]]
    text = pd.DataFrame(
        {
            "where": where,
            "ordering": table["ordering"],
            "cells": table["cells"],
            "mean absolute error": [_number(value, 3) for value in table["mae"]],
            "bias": [f"{value:+.3f}" for value in table["bias"]],
        }
    )
    overall = [i for i, point in enumerate(table["point"]) if point is None]
    rest = [i for i in range(len(table)) if i not in overall]
    found = _table(text.iloc[overall])
    rows = _table(text.iloc[rest])["rows"] if axes else []
    return found | {"more": rows, "more_title": "For every grid point"}


def _cost(results: StoredRun, summary: Summary) -> dict[str, Any]:
    costs = results.table("costs").to_pandas()
    table = cost_table(costs, summary.cells)
    paid = float(table["wall_seconds"].iloc[-1])
    alone = unshared_seconds(costs, summary.cells)
    text = pd.DataFrame(
        {
            "ordering": table["ordering"],
            "stage": table["stage"],
            "built": table["artifacts"].astype(int),
            "wall s": [amount(value) for value in table["wall_seconds"]],
            "device s": [amount(value) for value in table["device_seconds"]],
            "tokens or samples": [amount(value) for value in table["tokens"]],
            "FLOPs": [amount(value) for value in table["flops"]],
        }
    )
    return {"table": _table(text), "paid": paid, "saved": alone - paid, "known": len(costs) > 0}


def _gaps(results: StoredRun, summary: Summary) -> dict[str, Any]:
    missing = [cell for cell in summary.cells if cell.id not in summary.fates]
    failures = results.table("failures").to_pandas()
    return {
        "counts": _table(count_table(summary.cells, summary.fates)),
        "failures": failure_groups(failures, summary.cells, summary.axes, summary.fates),
        "missing": describe(missing, summary.axes),
    }


def _flat(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Key and value as text; long values are cut, the full ones stand in the run's folder."""
    rows = []
    for key, value in provenance.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            text = " ".join(value)
        elif isinstance(value, str):
            text = value
        else:
            text = json.dumps(value, ensure_ascii=False, default=str)
        if key == "dirty_diff" and text:
            text = f"{len(text.splitlines())} lines of uncommitted changes"
        rows.append((key, text if len(text) <= 600 else text[:600] + " …"))
    return rows
