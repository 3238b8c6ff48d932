"""Printing tables: for people, or as JSON and CSV that pipe."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

FORMATS = ("table", "json", "csv")
PIPE_WIDTH = 200

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
        _print_for_people(names, records)


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
    """JSON has neither NaN nor dates."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, date) else value


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    return str(value)
