"""A run's tables as views of DuckDB, every part checked on the way.

`<table>_parts` holds all rows of a table's folder; the view `<table>` those of the study as it was
last run, each once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from recalltrap.results.table_parts import fill, missing_columns, part_names, read_part
from recalltrap.results.tables import COLUMNS, column_defaults, factor_fields, table_schema
from recalltrap.store.storage import Storage

_VIEWS = {
    "planned": "select * from planned_parts",
    "cells": """
        select * from cells_parts where cell_id in (select cell_id from planned)
        qualify row_number() over (
            partition by cell_id order by status = 'succeeded' desc, started_at desc) = 1""",
    "metrics": "select {distinct} * from metrics_parts where cell_id in {succeeded}",
    "curves": "select {distinct} * from curves_parts where cell_id in {succeeded}",
    "responses": "select {distinct} * from responses_parts where cell_id in {succeeded}",
    "costs": """
        select * from costs_parts
        qualify row_number() over (partition by artifact_id order by origin = 'built' desc) = 1""",
    "failures": "select * from failures_parts where cell_id in (select cell_id from planned)",
}
_TWICE = """
    select count(*) from (
        select cell_id from cells_parts where status = 'succeeded'
        group by cell_id having count(*) > 1)"""
_OF_CELLS = ("metrics", "curves", "responses")  # parts of what succeeded
_REPLACED = ("cells", "planned")  # by the next run: they are read at once


def open_views(storage: Storage, run: str, settings: type[BaseModel]) -> duckdb.DuckDBPyConnection:
    """A connection that knows a run's tables, and reaches nothing else.

    Raises:
        InputError: a part is damaged, was changed, or isn't one of ours.
    """
    connection = duckdb.connect(":memory:")
    connection.execute("set temp_directory = ''")  # else what is too large fills the disk
    folder = _Folder(storage, run, settings)
    complete = set(part_names(storage, run, "cells"))
    for table in COLUMNS:
        names = part_names(storage, run, table)
        if table in _OF_CELLS:
            names = [name for name in names if name in complete]
        folder.register(connection, table, names)
    distinct = "distinct" if connection.execute(_TWICE).fetchall()[0][0] else ""
    connection.execute(f"create view planned as {_VIEWS['planned']}")
    connection.execute(f"create view cells as {_VIEWS['cells']}")
    succeeded = "(select cell_id from cells where status = 'succeeded')"
    for table in (*_OF_CELLS, "costs", "failures"):
        query = _VIEWS[table].format(distinct=distinct, succeeded=succeeded)
        connection.execute(f"create view {table} as {query}")
    connection.execute("set timezone = 'UTC'")
    connection.execute("set python_enable_replacements = false")  # no view of our variables
    allowed = storage.path(f"{run}/tables").replace("'", "''")
    connection.execute(f"set allowed_directories = ['{allowed}']")
    connection.execute("set enable_external_access = false").fetchall()
    return connection


@dataclass(frozen=True)
class _Folder:
    """A run's folder of tables, and the kind's settings as they are today."""

    storage: Storage
    run: str
    settings: type[BaseModel]

    @cached_property
    def fields(self) -> list[pa.Field]:
        return factor_fields(self.settings)

    def register(
        self, connection: duckdb.DuckDBPyConnection, table: str, names: Sequence[str]
    ) -> None:
        """Make a table's parts known as `<table>_parts`."""
        schema = table_schema(table, self.fields)
        defaults = column_defaults(table, self.settings)
        whole = [schema.empty_table()]
        later: dict[tuple[str, ...], list[str]] = defaultdict(list)  # by the columns they lack
        for name in names:
            path = f"{self.run}/tables/{table}/{name}.parquet"
            data, found = read_part(self.storage, path)
            missing = missing_columns(found, table, self.fields, self.storage.display(path))
            if table in _REPLACED or not self._is_scanned(path):
                rows = pq.read_table(pa.BufferReader(data))
                whole.append(fill(rows, schema, defaults))
            else:
                later[missing].append(self.storage.path(path))
        if not later:
            connection.register(f"{table}_parts", pa.concat_tables(whole))
            return
        one_row = {name: pa.array([v.as_py()], v.type) for name, v in defaults.items()}
        connection.register(f"{table}_defaults", pa.table({**one_row, "nothing": pa.nulls(1)}))
        queries = []
        for index, (missing, paths) in enumerate(later.items()):
            source = f"{table}_files_{index}"
            connection.read_parquet(paths, union_by_name=True).create_view(source)
            columns = ", ".join(
                f'{"d" if name in missing else "p"}."{name}"' for name in schema.names
            )
            queries.append(f"select {columns} from {source} p, {table}_defaults d")
        connection.execute(f"create view {table}_parts as {' union all '.join(queries)}")

    def _is_scanned(self, path: str) -> bool:
        """Whether DuckDB reads a part when it is asked, and not we now.

        It takes some names for patterns. In a shared storage, what was fetched to be checked isn't
        fetched twice; nor could DuckDB scan it as a dataset of Arrow's: it does so with Python's
        lock held, for which a filesystem written in Python would wait for ever.
        """
        return self.storage.is_local and not set("*?[").intersection(self.storage.path(path))
