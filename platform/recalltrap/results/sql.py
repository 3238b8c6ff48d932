"""Questions in SQL: what may be asked, and answers that Arrow holds without losing anything."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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


ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Limits:
    """What an answer may take: seconds, and megabytes of memory; None is no limit."""

    seconds: float | None = None
    megabytes: int | None = None

    def too_long(self) -> InputError:
        """For a query that isn't done in time."""
        return InputError(
            f"the query ran for {self.seconds:g} seconds and wasn't done: ask for less (a `where`, "
            "an aggregate), or give it longer (`--time-limit`, or `seconds=` in Python)"
        )

    def too_much(self) -> InputError:
        """For a query that needs, or answers with, too much memory."""
        return InputError(
            f"the query takes more than {self.megabytes:,} MB: ask for less (a `limit`, an "
            "aggregate), or give it more (`--memory-limit`, or `megabytes=` in Python)"
        )


NO_LIMITS = Limits()


def answer(
    connection: duckdb.DuckDBPyConnection, query: str, limits: Limits = NO_LIMITS
) -> pa.Table:
    """What one reading statement returns; no two columns share a name.

    The limits are kept by DuckDB, which looks at them between its pieces of work: one function
    call that takes long is done first.

    Raises:
        InputError: it isn't one statement that reads, or it exceeds a limit.
        duckdb.Error: it doesn't parse or doesn't fit the tables.
    """
    with _limited(connection, limits):
        kinds = [statement.type.name for statement in connection.extract_statements(query)]
        if len(kinds) != 1 or not _reads(connection, query):
            found = "none" if not kinds else ", ".join(kinds) if set(kinds) - READING else "more"
            raise InputError(
                "a query is one statement that reads, or `explain` of one, e.g. select * from "
                f"cells; this has {found}"
            )
        table = _fetched(_held(connection.sql(query)), limits)
    return table.rename_columns(distinct_names(table.column_names))


def _fetched(relation: duckdb.DuckDBPyRelation, limits: Limits) -> pa.Table:
    """All rows, read batch by batch where there is a limit to what they may take."""
    if limits.megabytes is None:
        table: pa.Table = relation.to_arrow_table()
        return table
    batches, size = [], 0
    with relation.to_arrow_reader(ROWS_AT_ONCE) as reader:
        for batch in reader:
            size += batch.nbytes
            if size > limits.megabytes * 1_000_000:
                raise limits.too_much()
            batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


@contextmanager
def _limited(connection: duckdb.DuckDBPyConnection, limits: Limits) -> Iterator[None]:
    """Turn what exceeds a limit into its message."""
    if limits.megabytes is not None:
        connection.execute(f"set memory_limit = '{limits.megabytes}MB'")
    late = threading.Event()

    def interrupt() -> None:
        late.set()
        connection.interrupt()

    timer = threading.Timer(limits.seconds or 0.0, interrupt)
    timer.daemon = True
    if limits.seconds is not None:
        timer.start()
    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError):
        if limits.megabytes is None:
            raise
        raise limits.too_much() from None
    except (duckdb.Error, OSError):
        if not late.is_set():
            raise
        raise limits.too_long() from None
    finally:
        timer.cancel()
        if timer.is_alive():
            timer.join()  # a thread that is left at the interpreter's end breaks it
        if limits.megabytes is not None:
            connection.execute("reset memory_limit")


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
