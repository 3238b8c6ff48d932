"""Printing tables: for people, or as JSON and CSV that pipe."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recalltrap.results.plain_values import column_values, json_value
from recalltrap.results.sql import distinct_names

FORMATS = ("table", "json", "csv")
PIPE_WIDTH = 1000  # a pipe has no width: nothing is folded

Rows: TypeAlias = pa.Table | Sequence[Mapping[str, Any]]


def print_table(rows: Rows, form: str = "table") -> None:
    """Print to stdout alone, as `table`, `json` (a list of objects) or `csv`.

    NaN and infinite numbers are null in JSON, which has none; the other forms say nan and inf.
    """
    if isinstance(rows, pa.Table):
        names = distinct_names(rows.column_names)
        columns = [column_values(column) for column in rows.columns]
        records = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    else:
        records = [dict(row) for row in rows]
        names = list(records[0]) if records else []
    if form == "json":
        plain = [{name: json_value(row[name]) for name in names} for row in records]
        print(json.dumps(plain, indent=1, ensure_ascii=False))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if names:
            writer.writerow(names)
        writer.writerows([_cell(row[name]) for name in names] for row in records)
    else:
        _print_for_people(*_fold_intervals(names, records))


def _fold_intervals(
    names: Sequence[str], records: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Put `x`, `x_low` and `x_high` into one column, as `x [low, high]`."""
    whole = [name for name in names if {f"{name}_low", f"{name}_high"} <= set(names)]
    ends = {f"{name}_{end}" for name in whole for end in ("low", "high")}
    folded = []
    for record in records:
        row = {name: record[name] for name in names if name not in ends}
        for name in whole:
            value, low, high = (_shown(record[n]) for n in (name, f"{name}_low", f"{name}_high"))
            row[name] = f"{value} [{low}, {high}]"
        folded.append(row)
    return [name for name in names if name not in ends], folded


def _print_for_people(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        numeric = bool(records) and isinstance(records[0][name], int | float)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in records:
        table.add_row(*(Text(_shown(row[name])) for name in names))
    console.print(table)


def _cell(value: Any) -> str | int | float | Decimal | None:
    """A field of a CSV file: numbers in full, `nan` and `inf` as such, nested values as JSON."""
    if isinstance(value, bool | int | float | Decimal) or value is None:
        return value
    plain = json_value(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else plain


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return str(value)
