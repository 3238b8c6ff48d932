"""Reading a run: tables, SQL, frames, Tune's own results. Nothing here writes.

Every view shows the cells of the study as it was last run, each once. What earlier settings of
the same study left in the folder stays there and is shown again when the study asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import yaml

from recalltrap.contents import remembering
from recalltrap.defaults import storage_location
from recalltrap.errors import InputError, nearest
from recalltrap.kinds import Cell
from recalltrap.paths import Pathish, expand
from recalltrap.provenance import read_provenance
from recalltrap.registry import find_kind, room
from recalltrap.storage import MARKER, Storage
from recalltrap.store import ArtifactStore
from recalltrap.study import Study
from recalltrap.tables import (
    COLUMNS,
    factor_fields,
    part_names,
    read_part_schema,
    table_schema,
)

STUDIES = "studies"
CONTENTS = "contents.json"
"""What the folders held that the study names, when it was last started."""
_VIEWS = {
    "planned": "select * from planned_parts",
    "cells": """
        select * from cells_parts where cell_id in (select cell_id from planned)
        qualify row_number() over (
            partition by cell_id order by status = 'succeeded' desc, started_at desc) = 1""",
    "metrics": "select {distinct} * from metrics_parts where cell_id in {succeeded}",
    "curves": "select {distinct} * from curves_parts where cell_id in {succeeded}",
    "costs": """
        select * from costs_parts
        qualify row_number() over (partition by artifact_id order by origin = 'built' desc) = 1""",
    "failures": "select * from failures_parts where cell_id in (select cell_id from planned)",
}
READING = ("SELECT", "MULTI")  # a pivot is several statements to DuckDB
_TWICE = """
    select count(*) from (
        select cell_id from cells_parts where status = 'succeeded'
        group by cell_id having count(*) > 1)"""


class Results:
    """A run's results. The first query reads the folder; later ones see the same state."""

    def __init__(self, storage: Storage, run: str) -> None:
        self.storage = storage
        self.run = run
        self.store = ArtifactStore(storage)

    @property
    def folder(self) -> str:
        """The run's folder."""
        return self.storage.display(self.run)

    @cached_property
    def study(self) -> Study:
        """The study as it was last run."""
        path = f"{self.run}/study.yaml"
        try:
            return Study.model_validate(yaml.safe_load(self.storage.read(path)))
        except FileNotFoundError:
            raise InputError(f"{self.folder} holds no study.yaml: it is not a run") from None
        except (ValueError, yaml.YAMLError) as error:
            raise InputError(f"{self.storage.display(path)} is damaged: {error}") from None

    @property
    def axes(self) -> tuple[str, ...]:
        """The grid's axes, in the study file's order."""
        return self.study.axes

    def planned(self) -> list[Cell]:
        """The cells of the study as it was last run, with their graphs of stages."""
        path = f"{self.run}/{CONTENTS}"
        found = json.loads(self.storage.read(path)) if self.storage.exists(path) else {}
        with remembering(found):
            return self.study.cells()

    def ground_truth(self) -> dict[str, npt.NDArray[np.float64]] | None:
        """p* as arrays, for kinds that can draw it, at the study's first grid point."""
        kind = find_kind(self.study.kind)
        point = next(self.study.points())
        return kind.ground_truth(kind.settings.model_validate({**self.study.settings, **point}))

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(":memory:")
        fields = factor_fields(find_kind(self.study.kind).settings)
        complete = set(part_names(self.storage, self.run, "cells"))
        for table in COLUMNS:
            names = part_names(self.storage, self.run, table)
            if table in ("metrics", "curves"):
                names = [name for name in names if name in complete]
            self._register(connection, table, names, fields)
        distinct = "distinct" if connection.execute(_TWICE).fetchall()[0][0] else ""
        connection.execute(f"create view planned as {_VIEWS['planned']}")
        connection.execute(f"create view cells as {_VIEWS['cells']}")
        succeeded = "(select cell_id from cells where status = 'succeeded')"
        for table in ("metrics", "curves", "costs", "failures"):
            query = _VIEWS[table].format(distinct=distinct, succeeded=succeeded)
            connection.execute(f"create view {table} as {query}")
        connection.execute("set timezone = 'UTC'")
        connection.execute("set python_enable_replacements = false")  # no view of our variables
        folder = self.storage.path(f"{self.run}/tables").replace("'", "''")
        connection.execute(f"set allowed_directories = ['{folder}']")
        connection.execute("set enable_external_access = false").fetchall()
        return connection

    def _register(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        names: Sequence[str],
        fields: Sequence[pa.Field],
    ) -> None:
        """Make a table's parts known to DuckDB as `<table>_parts`."""
        name, expected = f"{table}_parts", table_schema(table, fields)
        paths = [f"{self.run}/tables/{table}/{part}.parquet" for part in names]
        for path in paths:
            read_part_schema(self.storage, path)
        full = [self.storage.path(path) for path in paths]
        if not full:
            connection.register(name, expected.empty_table())
        elif table in ("cells", "planned"):  # the next run replaces these, so they are read now
            dataset = ds.dataset(full, expected, "parquet", self.storage.filesystem)
            connection.register(name, dataset.to_table())
        elif self.storage.is_local and not set("*?[").intersection("".join(full)):
            # DuckDB's own reader is five times as fast, but takes such names for patterns.
            connection.read_parquet(full, union_by_name=True).create_view(name)
        else:
            connection.register(
                name, ds.dataset(full, expected, "parquet", self.storage.filesystem)
            )

    def sql(self, query: str) -> pa.Table:
        """Ask the tables in DuckDB's SQL; the views are called as the tables are.

        Raises:
            InputError: the query doesn't parse or doesn't fit the tables.
        """
        try:
            kinds = [
                statement.type.name for statement in self._connection.extract_statements(query)
            ]
            if len(kinds) != 1 or kinds[0] not in READING:
                raise InputError(
                    "a query is one statement that reads, e.g. select * from cells; "
                    f"this has {', '.join(kinds) or 'none'}"
                )
            relation = self._connection.sql(query)
            return relation.to_arrow_table()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise InputError(
                f"the query was refused: {error}\n(tables: {', '.join(COLUMNS)}; "
                "`describe metrics` lists a table's columns)"
            ) from None

    def table(self, name: str) -> pa.Table:
        """A whole table as Arrow, its rows in one order however often it is read.

        Raises:
            InputError: there is no such table.
        """
        if name not in COLUMNS:
            raise InputError(f"unknown table {name!r}; {nearest(name, COLUMNS)}")
        return self.sql(f"select * from {name} order by all")

    def frame(self, name: str) -> pd.DataFrame:
        """A whole table as a pandas frame."""
        frame: pd.DataFrame = self.table(name).to_pandas()
        return frame

    def result_grid(self) -> Any:
        """`ray.tune.ResultGrid` of the run's trials, those of the last launch that ran any.

        Raises:
            InputError: the run never went through Tune.
        """
        return room("result_grid")(self.storage, self.run)

    def launches(self) -> list[dict[str, Any]]:
        """One record per `run` of this study, oldest first."""
        folder = f"{self.run}/launches"
        records = [
            json.loads(self.storage.read(f"{folder}/{n}")) for n in self.storage.list(folder)
        ]
        return sorted(records, key=lambda record: str(record["started_at"]))

    def provenance(self) -> dict[str, Any]:
        """Where the last launch came from: commit, versions, command line, host."""
        launches = self.launches()
        return read_provenance(self.storage, launches[-1]["provenance"]) if launches else {}


def run_folder(study_name: str) -> str:
    """A study's run folder, relative to its storage."""
    return f"{STUDIES}/{study_name}"


def open_run(run: Pathish, storage: Pathish | None = None) -> Results:
    """Open a run by its folder, or by its study's name under a storage.

    Raises:
        InputError: nothing there, or not a run.
    """
    root = Storage(storage_location(storage))
    place = expand(run, "the run")
    if root.check_exists() and root.exists(f"{run_folder(place)}/study.yaml"):
        return Results(root, run_folder(place))
    folder = Storage(place or ".")
    if folder.exists("study.yaml"):
        names: list[str] = []
        around: Storage | None = folder
        while around is not None and not around.exists(MARKER):
            names.insert(0, around.name)
            around = around.parent
        if around is not None:
            return Results(around, "/".join(names))
        raise InputError(f"{folder.shown} is not inside a recalltrap storage: no {MARKER} is there")
    studies = known_runs(root)
    hint = nearest(place, studies) if studies else "nothing was run there yet"
    raise InputError(f"no run {place!r} under {root.shown}, and no such folder; {hint}")


def known_runs(storage: Storage) -> list[str]:
    """Names of the studies that were run under a storage."""
    found: list[str] = []

    def visit(folder: str, name: str) -> None:
        if storage.exists(f"{folder}/study.yaml"):
            found.append(name)
            return
        for part in storage.list(folder) if name.count("/") < 4 else ():
            visit(f"{folder}/{part}", f"{name}/{part}" if name else part)

    visit(STUDIES, "")
    return found
