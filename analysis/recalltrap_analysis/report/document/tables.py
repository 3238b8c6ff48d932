"""Tables as blocks: frames of text for readers, and the same rows as plain values for machines."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.report.document.blocks import Grid, Record

ROWS_SHOWN = 24
_AS_JSON = frozenset({str, int, bool, type(None)})
NUMBER = re.compile(r"[-+–∞]?[\d.]*(e[-+]\d+)?[kMG]? ?%?( \[.*\]| of \d+| / .*)?$")


def grid(
    name: str,
    frame: pd.DataFrame,
    *,
    data: Sequence[Record] = (),
    order: Sequence[int] = (),
    query: str = "",
) -> Grid:
    """A table from a frame of text; `order` names the rows that matter most, the rest folds."""
    rows = [[_unbroken(str(value)) for value in row] for row in frame.itertuples(index=False)]
    folded = len(rows) > ROWS_SHOWN and len(order) > 0
    words = [not all(NUMBER.match(cell) for cell in column) for column in zip(*rows, strict=True)]
    return Grid(
        name,
        [str(column) for column in frame.columns],
        rows,
        words,
        list(data),
        sorted(order[:ROWS_SHOWN]) if folded else (),
        query,
    )


def _unbroken(text: str) -> str:
    """Keeps an interval's brackets on one line."""
    return re.sub(r", (?=[^\[]*\])", ",\N{NO-BREAK SPACE}", text)


def records(frame: pd.DataFrame, methods: Mapping[str, str] | None = None) -> list[Record]:
    """The rows of a table as plain values: X, X_low, X_high become one estimate with its method.

    Args:
        frame: A table; values that are not finite become None.
        methods: The interval's method by estimate; the others get the row's `method`, if any.
    """
    names = [str(name) for name in frame.columns if name != "point"]
    ends = {f"{name}_{end}" for name in names for end in ("low", "high") if f"{name}_low" in names}
    result = []
    for row in frame.to_dict("records"):
        record: Record = {}
        for name in names:
            if name in ends:
                continue
            record[name] = plain(row[name])
            if f"{name}_low" in names:
                method = (methods or {}).get(name) or row.get("method") or ""
                record[name] = {
                    "value": plain(row[name]),
                    "low": plain(row[f"{name}_low"]),
                    "high": plain(row[f"{name}_high"]),
                    "method": method,
                }
        result.append(record)
    return result


def csv_text(table: Grid) -> str:
    """A table's exact numbers as CSV: what `data` holds, or the text where there is none.

    An estimate becomes several columns, e.g. `order_effect.value`, `order_effect.low`,
    `order_effect.high` and `order_effect.method`; a list stands as JSON.
    """
    rows = table.data or [dict(zip(table.head, row, strict=True)) for row in table.rows]
    flat = [_flat(plain(row)) for row in rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(name for row in flat for name in row)))
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def _flat(record: Record, prefix: str = "") -> Record:
    """A plain record without records in it."""
    found: Record = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            found[prefix + name] = json.dumps(value, ensure_ascii=False)
        else:
            found[prefix + name] = value
    return found


def plain(value: Any) -> Any:
    """A value as JSON has it; NaN and infinity become None."""
    kind = type(value)
    if kind in _AS_JSON:  # most of them, told apart fast
        return value
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, bool | int | str) else str(value)
