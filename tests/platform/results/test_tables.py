from __future__ import annotations

from typing import Annotated, Any, Literal

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field

from recalltrap.results.tables import (
    COLUMNS,
    NULLABLE,
    SCHEMA_VERSION,
    arrow_type,
    conform,
    factor_fields,
    table_schema,
)

ROW: dict[str, list[Any]] = {
    "cell_id": ["a"], "stage": ["align"], "step": [5], "metric": ["reward"], "value": [1.5],
}  # fmt: skip


class Settings(BaseModel):
    weight: float = Field(default=1.0, description="a weight, in nats")
    count: int = 1
    fast: bool = False
    name: str = ""
    method: Literal["a", "b"] = "a"
    targets: tuple[int, ...] = (7,)
    maybe: float | None = None
    bounded: Annotated[int, Field(ge=0)] = 0


def test_settings_become_typed_columns() -> None:
    fields = {field.name: field.type for field in factor_fields(Settings)}
    assert fields == {
        "weight": pa.float64(),
        "count": pa.int64(),
        "fast": pa.bool_(),
        "name": pa.string(),
        "method": pa.string(),
        "targets": pa.list_(pa.int64()),
        "maybe": pa.float64(),
        "bounded": pa.int64(),
    }
    assert factor_fields(Settings)[0].metadata == {b"description": b"a weight, in nats"}


@pytest.mark.parametrize("annotation", [dict[str, int], Settings, complex, object])
def test_a_setting_that_is_no_column_is_refused(annotation: Any) -> None:
    with pytest.raises(TypeError, match="can't be a column"):
        arrow_type(annotation)


@pytest.mark.parametrize("table", COLUMNS)
def test_every_column_says_what_it_holds(table: str) -> None:
    schema = table_schema(table, factor_fields(Settings))
    assert len(set(schema.names)) == len(schema.names)
    own = [field for field in schema if field.name not in Settings.model_fields]
    assert all(field.metadata[b"description"] for field in own)
    assert {(table, field.name) for field in own if field.nullable} <= NULLABLE
    assert schema.metadata == {b"recalltrap.schema_version": str(SCHEMA_VERSION).encode()}


def test_conforming_orders_and_types_the_columns() -> None:
    shuffled = {name: ROW[name] for name in reversed(ROW)}
    table = conform("curves", shuffled, table_schema("curves"))
    assert table.schema.equals(table_schema("curves"), check_metadata=True)
    assert table.to_pylist() == [{name: values[0] for name, values in ROW.items()}]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"extra": [1]}, r"columns missing or unknown: \['extra'\]"),
        ({"value": None}, r"columns missing or unknown: \['value'\]"),
        ({"step": [5.5]}, "5.5"),
        ({"step": ["five"]}, "five"),
        ({"step": [2**63]}, "too large"),
        ({"value": [None]}, "'value'.* null"),
        ({"value": [object()]}, "object"),
        ({"value": [1.0, 2.0]}, "length"),
        ({"metric": [[1]]}, "metric|list"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], expected: str) -> None:
    data = {name: values for name, values in {**ROW, **change}.items() if values is not None}
    with pytest.raises((ValueError, OverflowError), match=expected):
        conform("curves", data, table_schema("curves"))


def test_nothing_measured_is_an_empty_table() -> None:
    empty = conform("curves", {name: [] for name in ROW}, table_schema("curves"))
    assert empty.num_rows == 0


def test_a_setting_cannot_take_the_name_of_a_column() -> None:
    class Clashing(BaseModel):
        samples: int = 1

    with pytest.raises(TypeError, match="samples"):
        table_schema("metrics", factor_fields(Clashing))
