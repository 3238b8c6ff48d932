"""Tables as people read them, whatever shows them: names, short numbers, intervals in brackets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from recalltrap.results.plain_values import column_values
from recalltrap.results.sql import distinct_names

Rows: TypeAlias = pa.Table | Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ReadableTable:
    """Columns by name, each row's values as text, and which columns hold numbers."""

    names: list[str]
    rows: list[list[str]]
    numeric: list[bool]

    def __iter__(self) -> Iterator[list[str]]:
        return iter(self.rows)

    def __str__(self) -> str:
        """Columns side by side, numbers to the right."""
        lines = [self.names, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(line, widths, self.numeric, strict=True)
            ).rstrip()
            for line in lines
        )


def readable(rows: Rows) -> ReadableTable:
    """A table's values as text; `x`, `x_low` and `x_high` become one column, `x [low, high]`."""
    names, records = records_of(rows)
    whole = [name for name in names if {f"{name}_low", f"{name}_high"} <= set(names)]
    ends = {f"{name}_{end}" for name in whole for end in ("low", "high")}
    kept = [name for name in names if name not in ends]
    texts = []
    for record in records:
        row = []
        for name in kept:
            text = value_text(record[name])
            if name in whole:
                low, high = (value_text(record[f"{name}_{end}"]) for end in ("low", "high"))
                text = f"{text} [{low}, {high}]"
            row.append(text)
        texts.append(row)
    numeric = [
        bool(records) and name not in whole and isinstance(records[0][name], int | float)
        for name in kept
    ]
    return ReadableTable(kept, texts, numeric)


def records_of(rows: Rows) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns' names, each once, and the rows by them."""
    if isinstance(rows, pa.Table):
        names = distinct_names(rows.column_names)
        columns = [column_values(column) for column in rows.columns]
        return names, [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    records = [dict(row) for row in rows]
    return list(records[0]) if records else [], records


def value_text(value: Any) -> str:
    """A value in few signs: three digits of a fraction, whole numbers where they are large."""
    if value is None:
        return ""
    if isinstance(value, float):
        if abs(value) < 1000:
            return f"{value:.3g}"
        return f"{value:.0f}" if abs(value) < 1e9 else f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(value_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {value_text(item)}" for key, item in value.items())
    return str(value)
