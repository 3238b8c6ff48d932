"""A run as the report reads it: each table once, and a table that can't be read as a reason.

Raises nothing over a table: what is missing, damaged or newer than this version is empty here, and
`problems` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap.kind import Metric
from recalltrap.results.tables import table_schema
from recalltrap_analysis.runs.protocol import ArtifactReader, ReportWriter, StoredRun, StudyLike

NEEDED = ("cells", "metrics", "costs", "failures")


class QueryableRun(StoredRun, Protocol):
    """A run whose tables can be asked in SQL."""

    def sql(self, query: str, /) -> pa.Table: ...


class ReadRun:
    """A run whose tables are read once, and whose unreadable tables are empty.

    Raises:
        InputError: on making it, where the study itself can't be read.
    """

    def __init__(self, run: QueryableRun) -> None:
        self._run = run
        self._tables: dict[str, pa.Table] = {}
        self.problems: dict[str, str] = {}
        self.study: StudyLike = run.study
        self.axes: Sequence[str] = tuple(run.axes)
        self.run: str = run.run
        self.folder: str = run.folder
        self.store: ArtifactReader = run.store
        self.storage: ReportWriter = run.storage
        self.cells: Sequence[Cell] = run.planned()
        for name in NEEDED:
            self.table(name)
        self._note_gaps()

    def _note_gaps(self) -> None:
        """Tables that say nothing where others show that they should."""
        cells = self.table("cells")
        if not cells.num_rows and self.cells and "cells" not in self.problems:
            self._note_lost_plan()
        done = "succeeded" in cells["status"].to_pylist() if cells.num_rows else False
        lacking = [n for n in ("metrics", "costs") if not self.table(n).num_rows] if done else []
        for name in lacking:
            self.problems.setdefault(name, "it holds no rows, though cells have succeeded")

    def _note_lost_plan(self) -> None:
        """Every view shows planned cells alone, so without that table nothing is shown."""
        try:
            lost = not self._run.table("planned").num_rows
        except (InputError, KeyError):
            return
        if lost:
            self.problems["planned"] = "it holds no rows, so no cell of the study can be shown"

    def table(self, name: str, /) -> pa.Table:
        """A table; empty where it can't be read."""
        if name not in self._tables:
            try:
                self._tables[name] = self._run.table(name)
            except (InputError, KeyError) as error:
                self.problems[name] = first_line(error)
                self._tables[name] = table_schema(name).empty_table()
        return self._tables[name]

    def frame(self, name: str, /) -> pd.DataFrame:
        """A table as a pandas frame."""
        frame: pd.DataFrame = self.table(name).to_pandas()
        return frame

    def sql(self, query: str, /) -> pa.Table:
        """What a query finds.

        Raises:
            InputError: it doesn't fit the tables, or they can't be read.
        """
        return self._run.sql(query)

    def planned(self) -> Sequence[Cell]:
        """The planned cells."""
        return self.cells

    @cached_property
    def _provenance(self) -> Mapping[str, Any]:
        try:
            return self._run.provenance()
        except (InputError, OSError, ValueError, KeyError) as error:
            self.problems["provenance"] = first_line(error)
            return {}

    def provenance(self) -> Mapping[str, Any]:
        """Where the last launch came from; empty where nothing tells."""
        return self._provenance

    def looks(self) -> Sequence[int]:
        """Numbers of seeds at which the run was judged or will be; its own where none can tell."""
        try:
            return self._run.looks()
        except (OSError, ValueError, KeyError) as error:
            self.problems["launches"] = first_line(error)
            return (len(self.study.seeds),)

    def study_file(self) -> str:
        """The study as YAML, as it was run; empty where the study can't be written so."""
        spell = getattr(self.study, "to_yaml", None)
        return spell() if spell else ""

    def metrics(self) -> Mapping[str, Metric]:
        """What the kind's metrics are called."""
        return self._run.metrics()


def first_line(error: BaseException) -> str:
    """What an error says first, without its full stop."""
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__
