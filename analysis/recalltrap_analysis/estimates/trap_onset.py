"""Where the trap begins: along one axis, the first value from which severity stays above 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.runs.design import GridPoint, hashable


def boundary(severity: pd.DataFrame, axes: Sequence[str], along: str) -> pd.DataFrame:
    """The trap's boundary for every combination of the other axes.

    Args:
        severity: A table with the axes and `severity_low`, as `severity_table` returns it; rows
            without an interval count as showing no trap.
        axes: The grid's axes.
        along: The axis on which the boundary is sought; its values are numbers.

    Returns:
        The other axes; `values`, how many were tried; `first`: the smallest value at which
        severity's interval lies above 0 and does so at every larger value too (NaN: at none);
        `last_clear`: the largest value below it (NaN: none); `gaps`: whether the interval lies
        above 0 at some value below `first` too.
    """
    others = [axis for axis in axes if axis != along]
    groups: dict[GridPoint, list[tuple[float, bool]]] = {}
    if along in axes:
        for _, row in severity.iterrows():
            key = tuple(hashable(row[axis]) for axis in others)
            trapped = bool(row.get("severity_low", np.nan) > 0)
            groups.setdefault(key, []).append((float(row[along]), trapped))
    records = []
    for key, found in groups.items():
        record: dict[str, Any] = dict(zip(others, key, strict=True))
        records.append(record | _first(sorted(found)))
    columns = [*others, "values", "first", "last_clear", "gaps"]
    return pd.DataFrame.from_records(records, columns=columns)


def _first(found: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    start = len(found)
    while start > 0 and found[start - 1][1]:
        start -= 1
    return {
        "values": len(found),
        "first": found[start][0] if start < len(found) else np.nan,
        "last_clear": found[start - 1][0] if start > 0 else np.nan,
        "gaps": any(trapped for _, trapped in found[:start]),
    }
