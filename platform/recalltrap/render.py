"""Printing tables: for people, or as JSON and CSV that pipe."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

FORMATS = ("table", "json", "csv")
PIPE_WIDTH = 1000  # a pipe has no width: nothing is folded

Rows: TypeAlias = pa.Table | Sequence[Mapping[str, Any]]


def print_table(rows: Rows, form: str = "table") -> None:
    """Print to stdout alone, as `table`, `json` (a list of objects) or `csv`."""
    if isinstance(rows, pa.Table):
        names, records = rows.column_names, rows.to_pylist()
    else:
        records = [dict(row) for row in rows]
        names = list(records[0]) if records else []
    if form == "json":
        plain = [{name: _plain(row[name]) for name in names} for row in records]
        print(json.dumps(plain, indent=1, ensure_ascii=False))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if names:
            writer.writerow(names)
        writer.writerows([_plain(row[name]) for name in names] for row in records)
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


def _plain(value: Any) -> Any:
    """JSON has neither NaN nor dates, and DuckDB's sums of integers are decimals."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    return str(value)
