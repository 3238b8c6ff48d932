"""A run's effects as a table beside the stored ones: computed by the analysis, stored nowhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

EFFECTS = "effects"
_ABSENT = re.compile(rf"Table with name {EFFECTS} does not exist", re.I)

_NAMES = (
    ("contrast", "two orderings, first minus second"),
    ("part", "difference, or a part of the order effect"),
    ("comparison", "at equal KL weight, at equal recall, or within the recall budget"),
    ("metric", "what is compared: attainment (reward, where it has no supremum), or a metric"),
)
_NUMBERS = (
    ("value", "mean paired difference over seeds"),
    ("low", "lower end of the 95 % interval"),
    ("high", "upper end of the 95 % interval"),
    ("lower", "lower one-sided 5 % bound"),
    ("upper", "upper one-sided 5 % bound"),
)
_COUNTS = (("n", "seeds behind the value"), ("seeds", "seeds planned"))
_WORDS = (
    ("unit", "what value, interval and bounds are in"),
    ("words", "the verdict on the study's margin, of rewards"),
    ("state", "complete, or what is missing"),
)


def names_effects(refusal: str) -> bool:
    """Whether DuckDB refused a query because there is no view of effects yet."""
    return _ABSENT.search(refusal) is not None


def effects_table(effects: pd.DataFrame, axes: Sequence[pa.Field]) -> pa.Table:
    """The analysis' effects with typed columns.

    Args:
        effects: As `Results.effects` returns it, its rows in the order to keep.
        axes: The grid's axes. An axis is null where a comparison spans its values.
    """
    fields = [
        *_fields(_NAMES, pa.string()), *axes, *_fields(_NUMBERS, pa.float64()),
        *_fields(_COUNTS, pa.int64()), *_fields(_WORDS, pa.string()),
    ]  # fmt: skip
    columns = {
        field.name: pa.array([_plain(value) for value in effects[field.name]], field.type)
        for field in fields
    }
    return pa.table(columns, pa.schema(fields))


def _fields(columns: Sequence[tuple[str, str]], kind: pa.DataType) -> list[pa.Field]:
    return [pa.field(name, kind, metadata={"description": said}) for name, said in columns]


def _plain(value: Any) -> Any:
    """Null where pandas has NaN for what isn't there."""
    if isinstance(value, list | tuple):
        return value
    return None if pd.isna(value) else value
