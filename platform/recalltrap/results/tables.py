"""The tables of a run: their columns, units and meaning, in one place.

A table is a folder of Parquet parts, `<run>/tables/<table>/<part>.parquet` (see `table_parts`). A
pack writes one part of each under its own name, `cells` last: a part of `metrics` or `curves`
counts only once its namesake stands in `cells`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from recalltrap.graph import Cell

SCHEMA_VERSION = 3  # 1 was without checksums, 2 without `updates` in `costs`
VERSION_KEY = b"recalltrap.schema_version"
TIMESTAMP = pa.timestamp("us", tz="UTC")

Column = tuple[str, pa.DataType, str]
FACTORS = "factors"  # stands for the settings of the kind, one typed column each

_IDENTITY: tuple[Column, ...] = (
    ("cell_id", pa.string(), "hash of everything that decides the cell"),
    ("ordering", pa.string(), "name of the ordering, e.g. K-A"),
    ("seed", pa.int64(), "seed of the cell's random streams"),
)
COLUMNS: dict[str, tuple[Column | str, ...]] = {
    "cells": (
        ("cell_id", pa.string(), "hash of everything that decides the cell"),
        ("study", pa.string(), "name of the study"),
        ("kind", pa.string(), "kind of study"),
        ("ordering", pa.string(), "name of the ordering, e.g. K-A"),
        ("seed", pa.int64(), "seed of the cell's random streams"),
        FACTORS,
        ("status", pa.string(), "succeeded or failed"),
        ("attempt", pa.int32(), "1 for the first try of this cell in this run"),
        ("started_at", TIMESTAMP, "when the pack began"),
        ("wall_seconds", pa.float64(), "s; the pack's time divided by its cells"),
        ("trial_id", pa.string(), "Tune's trial, or `local`"),
        ("config_hash", pa.string(), "hash of the setting: the same for all its seeds"),
    ),
    "metrics": (
        *_IDENTITY,
        FACTORS,
        ("model", pa.string(), "p_prime, p_second, p_prime_aligned or final"),
        ("metric", pa.string(), "name of the metric"),
        ("value", pa.float64(), "log-likelihoods in nats; rewards and scores in their own units"),
        (
            "standard_error",
            pa.float64(),
            "in the value's unit: evaluation noise, or what two orders of a quadrature differ by",
        ),
        ("samples", pa.int64(), "samples or quadrature points behind the value; 0: closed form"),
        (
            "scorer",
            pa.string(),
            "what judged: p_star, model, p_target, oracle; quadrature or closed form if exact",
        ),
    ),
    "curves": (
        ("cell_id", pa.string(), "hash of everything that decides the cell"),
        ("stage", pa.string(), "stage of the ordering; a repeated one carries its number"),
        ("step", pa.int64(), "iterations done"),
        ("metric", pa.string(), "name of the metric"),
        ("value", pa.float64(), "in the metric's unit"),
    ),
    "responses": (
        *_IDENTITY,
        ("model", pa.string(), "p_prime, p_second, p_prime_aligned or final"),
        ("prompt_id", pa.string(), "the prompt's id; 1 where the study has one alone"),
        ("sample", pa.int64(), "which of the model's responses, from 0"),
        ("length", pa.int64(), "tokens"),
        ("reward", pa.float32(), "in the reward's own unit"),
        ("log_q", pa.float32(), "nats, the whole response under the model itself"),
        ("log_p_star", pa.float32(), "nats, the whole response under p*; null where there is none"),
        ("prompt", pa.string(), "the prompt's text, where the response's is kept"),
        ("text", pa.string(), "the response's text; of a few, of all or of none, as set"),
    ),
    "costs": (
        ("artifact_id", pa.string(), "the artifact; an evaluation's is its cell"),
        ("cell_id", pa.string(), "the cell it was built for; null if several share it"),
        ("stage", pa.string(), "sft, distill, align or evaluate"),
        (
            "updates",
            pa.int64(),
            "updates of parameters; null where an earlier version built it and didn't count",
        ),
        ("wall_seconds", pa.float64(), "s"),
        ("device_seconds", pa.float64(), "s, cores or GPUs times wall time"),
        ("tokens", pa.int64(), "tokens, or samples of a mixture, drawn or trained on"),
        ("flops", pa.float64(), "floating point operations, estimated"),
        ("device", pa.string(), "cpu or the GPU's name"),
        ("workers", pa.int32(), "processes that built it together"),
        (
            "reused_by",
            pa.int32(),
            "cells of this run's plan that use it beside the one it was built for",
        ),
        ("origin", pa.string(), "built by this run, or taken from the store as it was"),
    ),
    "failures": (
        ("cell_id", pa.string(), "hash of everything that decides the cell"),
        ("study", pa.string(), "name of the study"),
        ("ordering", pa.string(), "name of the ordering"),
        ("seed", pa.int64(), "seed"),
        ("attempt", pa.int32(), "1 for the first try of this cell in this run"),
        ("failure", pa.string(), "nan, oom, worker_lost, timeout, user_code or scheduling"),
        ("message", pa.string(), "what went wrong"),
        ("log_tail", pa.string(), "the last lines of the traceback or log"),
        ("retry_command", pa.string(), "the command that tries the cell again"),
        ("failed_at", TIMESTAMP, "when"),
        ("trial_id", pa.string(), "Tune's trial, or `local`"),
    ),
    "planned": (
        *_IDENTITY,
        FACTORS,
        ("config_hash", pa.string(), "hash of the setting: the same for all its seeds"),
    ),
}
NULLABLE = {
    ("costs", "cell_id"),
    ("costs", "updates"),
    ("responses", "log_p_star"),
    ("responses", "prompt"),
    ("responses", "text"),
}
LATER = {("costs", "updates")}
"""Columns that parts of an earlier schema version don't have: null there."""
_PLAIN = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}


def factor_fields(settings: type[BaseModel]) -> list[pa.Field]:
    """One typed column for each field of a kind's settings."""
    return [
        pa.field(
            name, arrow_type(info.annotation), metadata={"description": info.description or ""}
        )
        for name, info in settings.model_fields.items()
    ]


def arrow_type(annotation: Any) -> pa.DataType:
    """The column type of a settings field: int, float, bool, str, literals, lists, optionals.

    Raises:
        TypeError: a type that has no column (a nested model, say).
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return arrow_type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return arrow_type(next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        return arrow_type(type(arguments[0]))
    if origin in (tuple, list):
        return pa.list_(arrow_type(arguments[0]))
    if annotation not in _PLAIN:
        raise TypeError(f"{annotation!r} can't be a column: use numbers, strings, or lists of them")
    return _PLAIN[annotation]


def is_setting_type(kind: pa.DataType) -> bool:
    """Whether `arrow_type` gives some setting a column of this type."""
    if pa.types.is_list(kind):
        return is_setting_type(kind.value_type)
    return kind in _PLAIN.values()


def column_defaults(table: str, settings: type[BaseModel]) -> dict[str, pa.Scalar]:
    """What the columns hold that an earlier version didn't write: a setting's default, or null."""
    schema = table_schema(table)
    later = {name: pa.scalar(None, schema.field(name).type) for of, name in LATER if of == table}
    if FACTORS not in COLUMNS[table]:
        return later
    values = settings().model_dump(mode="json")
    return later | {
        field.name: pa.scalar(values[field.name], field.type) for field in factor_fields(settings)
    }


def table_schema(table: str, factors: Sequence[pa.Field] = ()) -> pa.Schema:
    """The schema of a table, units in the fields' metadata, the version in its own.

    Raises:
        TypeError: a setting has the name of a column.
    """
    fields: list[pa.Field] = []
    for column in COLUMNS[table]:
        if isinstance(column, str):
            fields.extend(factors)
            continue
        name, kind, meaning = column
        nullable = (table, name) in NULLABLE
        fields.append(pa.field(name, kind, nullable, metadata={"description": meaning}))
    names = [field.name for field in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TypeError(f"table {table!r} has columns called {twice}: rename those settings")
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()})


def factor_columns(cells: Sequence[Cell], fields: Sequence[pa.Field]) -> dict[str, pa.Array]:
    """The typed factor columns of some cells, in their order."""
    return {
        field.name: pa.array([cell.factors[field.name] for cell in cells], field.type)
        for field in fields
    }


def conform(table: str, data: pa.Table | Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """The data as the schema wants it: every column, in order, cast safely, no surprising null.

    Raises:
        ValueError: a column is missing or unknown, can't be cast, or holds a null it must not.
    """
    if not isinstance(data, pa.Table):
        data = pa.table(dict(data))
    missing = set(schema.names) ^ set(data.column_names)
    if missing:
        raise ValueError(f"table {table!r}: columns missing or unknown: {sorted(missing)}")
    try:
        result = data.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise ValueError(f"table {table!r}: {error}") from None
    for field in schema:
        if not field.nullable and result[field.name].null_count:
            raise ValueError(f"table {table!r}: the column {field.name!r} holds a null")
    return result
