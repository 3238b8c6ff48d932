"""Printing tables: for people, or as JSON and CSV that pipe."""

from __future__ import annotations

import csv
import json
import sys
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from recalltrap.results.plain_values import json_value
from recalltrap.results.readable_tables import ReadableTable, Rows, readable, records_of

FORMATS = ("table", "json", "csv")
PIPE_WIDTH = 1000  # a pipe has no width: nothing is folded


def print_table(rows: Rows, form: str = "table") -> None:
    """Print to stdout alone, as `table`, `json` (a list of objects) or `csv`.

    NaN and infinite numbers are null in JSON, which has none; the other forms say nan and inf.
    """
    if form == "table":
        _print_for_people(readable(rows))
        return
    names, records = records_of(rows)
    if form == "json":
        plain = [{name: json_value(row[name]) for name in names} for row in records]
        print(json.dumps(plain, indent=1, ensure_ascii=False))
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if names:
            writer.writerow(names)
        writer.writerows([_cell(row[name]) for name in names] for row in records)


def _print_for_people(shown: ReadableTable) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, numeric in zip(shown.names, shown.numeric, strict=True):
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in shown:
        table.add_row(*map(Text, row))
    console.print(table)


def _cell(value: Any) -> str | int | float | Decimal | None:
    """A field of a CSV file: numbers in full, `nan` and `inf` as such, nested values as JSON."""
    if isinstance(value, bool | int | float | Decimal) or value is None:
        return value
    plain = json_value(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else plain
