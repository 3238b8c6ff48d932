"""Questions in SQL: what may be asked, and answers that Arrow holds without losing anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa

from recalltrap.errors import InputError

READING = frozenset({"SELECT", "EXPLAIN", "MULTI"})  # a pivot is several statements to DuckDB
_BLANK = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_EXPLAIN = re.compile(rf"{_BLANK}explain\b", re.I | re.S)
_EXPLAIN_MORE = re.compile(rf"{_BLANK}(?:analyze\b|\([^()]*\))", re.I | re.S)
_PIVOT = re.compile(rf"(?:{_BLANK}\()*{_BLANK}(?:pivot|with|select|from)\b", re.I | re.S)
_HELD = {
    *("null", "boolean", "varchar", "enum", "uuid", "blob", "float", "double", "decimal"),
    *("tinyint", "smallint", "integer", "bigint", "hugeint"),
    *("utinyint", "usmallint", "uinteger", "ubigint"),
    *("date", "time", "time_ns", "interval", "timestamp", "timestamp with time zone"),
    *("timestamp_s", "timestamp_ms", "timestamp_ns"),
}
"""What Arrow holds as it is. The rest (bit strings, times with an offset, unsigned 128-bit
integers, numbers of any length) would come out as bytes or as other values."""
_NESTED = frozenset({"list", "array", "struct", "map", "union"})


def answer(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """What one reading statement returns; no two columns share a name.

    Raises:
        InputError: it isn't one statement that reads.
        duckdb.Error: it doesn't parse or doesn't fit the tables.
    """
    kinds = [statement.type.name for statement in connection.extract_statements(query)]
    if len(kinds) != 1 or not _reads(connection, query):
        found = "none" if not kinds else ", ".join(kinds) if set(kinds) - READING else "more"
        raise InputError(
            "a query is one statement that reads, or `explain` of one, e.g. select * from cells; "
            f"this has {found}"
        )
    table: pa.Table = _held(connection.sql(query)).to_arrow_table()
    return table.rename_columns(distinct_names(table.column_names))


def _reads(connection: duckdb.DuckDBPyConnection, query: str) -> bool:
    """Whether a statement reads and does nothing else: a select, a pivot, or `explain` of one."""
    if explained := _EXPLAIN.match(query):
        # Whatever it explains is the rest of the text, with or without `analyze` and options.
        rest = [query[explained.end() :]]
        while more := _EXPLAIN_MORE.match(rest[-1]):
            rest.append(rest[-1][more.end() :])
        return any(_parses_as_reading(connection, text) for text in rest)
    return _parses_as_reading(connection, query)


def _parses_as_reading(connection: duckdb.DuckDBPyConnection, query: str) -> bool:
    try:
        kinds = [statement.type.name for statement in connection.extract_statements(query)]
    except duckdb.ParserException:
        return False
    # `copy (pivot ...) to` and `create table ... as pivot` are several statements, too.
    return kinds == ["SELECT"] or (kinds == ["MULTI"] and _PIVOT.match(query) is not None)


def _held(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same rows, with DuckDB's own text where Arrow has no such values."""
    names, types = relation.columns, relation.types
    if all(map(_is_held, types)):
        return relation
    columns = []
    for place, (name, kind) in enumerate(zip(names, types, strict=True), 1):
        cast = "" if _is_held(kind) else "::varchar"
        columns.append(f'#{place}{cast} as "{name.replace(chr(34), chr(34) * 2)}"')
    return relation.project(", ".join(columns))


def _is_held(kind: Any) -> bool:
    if kind.id in _NESTED:
        children = [child for _, child in kind.children]
        return all(isinstance(child, int) or _is_held(child) for child in children)
    return kind.id.strip('"') in _HELD


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names with a number behind those that stood before, as DuckDB's subqueries have it."""
    taken, found = set(names), list[str]()
    for name in names:
        number, fresh = 1, name
        while fresh in found or (fresh != name and fresh in taken):
            fresh, number = f"{name}_{number}", number + 1
        found.append(fresh)
    return found
