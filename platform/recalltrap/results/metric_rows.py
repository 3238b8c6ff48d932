"""From measured values to the rows of a kind's evaluation, and the names of repeated stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from recalltrap.graph import Node
from recalltrap.results.tables import table_schema

MEASURED = ("cell_id", "model", "metric", "value", "standard_error", "samples", "scorer")
"""The columns of `metrics` that a kind fills; the platform adds ordering, seed and factors."""


class Value(NamedTuple):
    """One row of the `metrics` table, without its cell and model."""

    metric: str
    value: float
    standard_error: float
    samples: int
    scorer: str


def metric_rows(values: Iterable[tuple[str, str, Value]]) -> pa.Table:
    """The `metrics` of an `Evaluation`, from (cell id, model, value)."""
    rows = [(cell, model, *value) for cell, model, value in values]
    columns: Iterable[Any] = zip(*rows, strict=True) if rows else ((),) * len(MEASURED)
    schema = table_schema("metrics")
    return pa.table(
        dict(zip(MEASURED, columns, strict=True)),
        schema=pa.schema([(name, schema.field(name).type) for name in MEASURED]),
    )


def numbered(nodes: Iterable[Node]) -> Iterator[tuple[str, Node]]:
    """Each node with its stage's name in the `curves` table: a repeated one carries its number."""
    seen: Counter[str] = Counter()
    for node in nodes:
        seen[node.stage] += 1
        count = seen[node.stage]
        yield (node.stage if count == 1 else f"{node.stage}-{count}"), node
