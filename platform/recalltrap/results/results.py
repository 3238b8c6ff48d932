"""Reading a run: tables, SQL, frames, Tune's own results. Nothing here writes.

Every view shows the cells of the study as it was last run, each once. What earlier settings of
the same study left in the folder stays there and is shown again when the study asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from recalltrap.defaults import storage_location
from recalltrap.errors import InputError, RecalltrapError, nearest
from recalltrap.graph import Cell
from recalltrap.kind import Metric
from recalltrap.paths import Pathish, expand
from recalltrap.registry import find_kind, kind_names, room
from recalltrap.results import notebook_html
from recalltrap.results.effects_view import EFFECTS, effects_table, names_effects
from recalltrap.results.launch_looks import judged_at
from recalltrap.results.sql import Limits, answer
from recalltrap.results.tables import COLUMNS, factor_fields
from recalltrap.results.verdict import Verdict
from recalltrap.results.views import open_views
from recalltrap.store.contents import remembering
from recalltrap.store.provenance import read_provenance
from recalltrap.store.storage import MARKER, Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.checks import parse_study
from recalltrap.study.study import Study
from recalltrap.study.study_file import parse_study_text

STUDIES = "studies"
TABLES = (*COLUMNS, EFFECTS)
"""What queries may name: the stored tables, and the view that the analysis makes."""
CONTENTS = "contents.json"
"""What the folders held that the study names, when it was last started."""
_STATUS = """
select p.ordering, count(*) as planned,
       count(*) filter (c.status = 'succeeded') as succeeded,
       count(*) filter (c.status = 'failed') as failed,
       count(*) filter (c.status is null) as missing
from planned p left join cells c using (cell_id) group by p.ordering order by p.ordering"""


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
            data = self.storage.read(path)
        except FileNotFoundError:
            raise InputError(f"{self.folder} holds no study.yaml: it is not a run") from None
        try:
            content, source = parse_study_text(data, "study.yaml")
            study = parse_study(_without_former_resources(content), source)
        except InputError as error:
            raise InputError(f"{self.storage.display(path)} is damaged: {error}") from None
        # A setting that an earlier version had decides nothing any more.
        fields = find_kind(study.kind).settings.model_fields
        settings = {name: value for name, value in study.settings.items() if name in fields}
        return study.model_copy(update={"settings": settings})

    @property
    def axes(self) -> tuple[str, ...]:
        """The grid's axes, in the study file's order."""
        return self.study.axes

    def planned(self) -> list[Cell]:
        """The cells of the study as it was last run, with their graphs of stages.

        Where an earlier version ran it, they have the ids that its tables know them by.
        """
        path = f"{self.run}/{CONTENTS}"
        way_out = "remove it, and the next `recalltrap run` writes it anew"
        known = self.storage.exists(path)
        found = self.storage.read_mapping(path, way_out) if known else {}
        with remembering(found):
            cells = self.study.cells_as_written()
        columns = ", ".join(f'"{name}"' for name in ("cell_id", "ordering", "seed", *self.axes))
        stored = self.sql(f"select {columns} from planned")
        if {cell.id for cell in cells} == set(stored["cell_id"].to_pylist()):
            return cells

        def place(ordering: str, seed: int, values: Mapping[str, Any]) -> str:
            return json.dumps([ordering, seed, [values[axis] for axis in self.axes]])

        rows = stored.to_pylist()
        ids = {place(row["ordering"], row["seed"], row): row["cell_id"] for row in rows}
        return [
            replace(cell, stored_id=ids.get(place(cell.ordering.name, cell.seed, cell.factors)))
            for cell in cells
        ]

    def metrics(self) -> Mapping[str, Metric]:
        """What the kind's metrics are called; see `recalltrap.kind.metric_of`."""
        return find_kind(self.study.kind).metrics

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return open_views(self.storage, self.run, find_kind(self.study.kind).settings)

    def sql(
        self, query: str, *, seconds: float | None = None, megabytes: int | None = None
    ) -> pa.Table:
        """Ask the tables in DuckDB's SQL; the views are called as the tables are.

        `effects` is a view, too: `Results.effects()` by the study's own margin and contrasts.

        A name that several columns have is numbered from the second on: value, value_1. What
        Arrow has no values for (times with an offset, bit strings, unsigned 128-bit integers) is
        text.

        Args:
            query: One statement that reads.
            seconds: After which it is given up; None waits for it.
            megabytes: What it and its answer may take; None is no limit.

        Raises:
            InputError: the query doesn't parse or doesn't fit the tables, or exceeds a limit.
        """
        try:
            return self._answer(query, Limits(seconds, megabytes))
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise InputError(
                f"the query was refused: {error}\n(tables: {', '.join(TABLES)}; "
                "`describe metrics` lists a table's columns)"
            ) from None

    def _answer(self, query: str, limits: Limits) -> pa.Table:
        """The answer to a query; the view of effects is made when one first names it."""
        try:
            return answer(self._connection, query, limits)
        except duckdb.CatalogException as error:
            if not names_effects(str(error)):
                raise
        self._connection.register(EFFECTS, self._effects)
        return answer(self._connection, query, limits)

    @cached_property
    def _effects(self) -> pa.Table:
        """All effects by the study's own margin, budget and contrasts."""
        fields = {field.name: field for field in factor_fields(find_kind(self.study.kind).settings)}
        return effects_table(self.effects(), [fields[axis] for axis in self.axes])

    def table(self, name: str) -> pa.Table:
        """A whole table as Arrow, its rows in one order however often it is read.

        Raises:
            InputError: there is no such table.
        """
        if name not in TABLES:
            raise InputError(f"unknown table {name!r}; {nearest(name, TABLES)}")
        if name == EFFECTS:
            return self._effects
        return self.sql(f"select * from {name} order by all")

    def frame(self, name: str) -> pd.DataFrame:
        """A whole table as a pandas frame."""
        frame: pd.DataFrame = self.table(name).to_pandas()
        return frame

    def status(self) -> pd.DataFrame:
        """Cells by ordering, then of `all`: `planned`, `succeeded`, `failed` and `missing`."""
        rows: pd.DataFrame = self.sql(_STATUS).to_pandas()
        counts = rows.drop(columns="ordering").sum()
        return pd.concat([rows, pd.DataFrame([{"ordering": "all", **counts}])], ignore_index=True)

    @cached_property
    def summary(self) -> Any:
        """The analysis' numbers and verdict: a `recalltrap_analysis.verdicts.summary.Summary`."""
        return room("summary")(self)

    def verdict(self) -> Verdict:
        """What the run shows, in a word and a sentence, with what keeps it from saying more.

        Of an unfinished run too: its notes say what is missing.

        Raises:
            InputError: the run's tables are damaged.
        """
        found = self.summary
        return Verdict(
            study=found.study,
            word=found.verdict,
            sentence=found.sentence,
            notes=tuple(found.notes),
            planned=found.planned,
            succeeded=found.succeeded,
            failed=found.failed,
            missing=found.missing,
        )

    def recommendation(self) -> Any:
        """What to do, over all strata: a `recalltrap_analysis` `Recommendation`.

        It has a `word`, a `sentence`, the `reasons` and the `conditions` under which it was seen.
        `summary.recommendations` has one for every stratum, with its gain and its price.

        Raises:
            InputError: the run's tables are damaged.
        """
        return self.summary.recommendation

    def report(self, form: str = "html") -> str:
        """Write the run's report, `html`, `markdown` or `json`, and return the path of its page.

        Raises:
            InputError: no such format, or the run's tables are damaged.
        """
        path: str = room("report")(self, form=form, summary=self.summary)
        return path

    def effects(
        self,
        contrasts: Sequence[tuple[str, str]] | None = None,
        margin: float | None = None,
        recall_budget: float | None = None,
    ) -> pd.DataFrame:
        """Orderings compared, one row per contrast, part, comparison and grid point.

        Args:
            contrasts: Pairs of orderings, compared as first minus second; the study's own unless
                given, every ordering that aligns against K-A where it has none.
            margin: The largest difference of rewards that doesn't matter, in their unit; the
                study's own.
            recall_budget: Nats of overall recall below p' that a model may lose; the study's own.

        Returns:
            `contrast`, `part`, `comparison`, `metric`, the grid's axes, `value` with its 95 %
            interval (`low`, `high`), its `unit`, `n` seeds, `words` (the verdict on the margin) and
            more: see `recalltrap_analysis.verdicts.effects`.

        Raises:
            InputError: the study has no such ordering, or a number is below 0.
        """
        chosen = {"contrasts": contrasts, "margin": margin, "recall_budget": recall_budget}
        given = {name: value for name, value in chosen.items() if value is not None}
        if not given:
            as_judged: pd.DataFrame = self.summary.effects.copy()
            return as_judged
        frame: pd.DataFrame = room("effects")(self, **given)
        return frame

    def export(self, ordering: str, seed: int, folder: Pathish, /, **at: Any) -> str:
        """Write the final model of one cell as a folder that other libraries load; its path.

        Args:
            ordering: one of the study's orderings.
            seed: one of its seeds.
            folder: a folder on this machine that is empty or isn't there yet.
            at: the grid point, `kl_weight=0.7`; needed for every axis of several values.

        Raises:
            InputError: no such cell, several, one that isn't finished, a folder that holds
                something, or a kind whose models no other library loads.
        """
        from recalltrap.results.export import export_model

        return export_model(self, ordering, seed, folder, at)

    def result_grid(self) -> Any:
        """`ray.tune.ResultGrid` of the run's trials, those of the last launch that ran any.

        Raises:
            InputError: the run never went through Tune.
        """
        return room("result_grid")(self.storage, self.run)

    def _repr_html_(self) -> str:
        """For notebooks: what to do and the verdict once it is finished, its cells, its tables."""
        try:
            study, status = self.study, self.status()
            missing = int(status["missing"].iloc[-1])
            said = [study.question, f"Not finished: {missing} cells missing."]
            if not missing:
                said = [self.recommendation().sentence, study.question, str(self.verdict())]
            sizes = self.sql(
                " union all ".join(f"select '{t}' as t, count(*) as n from {t}" for t in COLUMNS)
            ).to_pylist()
        except RecalltrapError as error:  # a notebook shows what it can't read, too
            return notebook_html.block(self.folder, notebook_html.lines([str(error)]))
        tables = ", ".join(f"{row['t']} ({row['n']:,})" for row in sizes)
        return notebook_html.block(
            study.name,
            notebook_html.lines(said),
            notebook_html.table(status.to_dict("records")),
            notebook_html.lines([f"tables (rows): {tables}", self.folder]),
        )

    def launches(self) -> list[dict[str, Any]]:
        """One record per `run` of this study, oldest first."""
        folder = f"{self.run}/launches"
        way_out = "put it back as it was, or remove it: no verdict counts its looks then"
        names = self.storage.list(folder)
        needs = ("started_at", "provenance")
        records = [self.storage.read_mapping(f"{folder}/{n}", way_out, needs) for n in names]
        return sorted(records, key=lambda record: str(record["started_at"]))

    def looks(self) -> tuple[int, ...]:
        """Numbers of seeds at which this run was judged or is planned to be, ascending.

        Planned ones are the study's `looks`; others are those of earlier launches that asked the
        same with other seeds. One alone: nothing to adjust a verdict for.
        """
        return judged_at(self.study, self.launches())

    def provenance(self) -> dict[str, Any]:
        """Where the last launch came from: commit, versions, command line, host."""
        launches = self.launches()
        return read_provenance(self.storage, launches[-1]["provenance"]) if launches else {}


def run_folder(study_name: str) -> str:
    """A study's run folder, relative to its storage."""
    return f"{STUDIES}/{study_name}"


def _without_former_resources(content: dict[str, Any]) -> dict[str, Any]:
    """A run's study without fields of `resources` that an earlier version wrote for every kind."""
    resources, kind = content.get("resources"), content.get("kind")
    if not isinstance(resources, dict) or kind not in kind_names():
        return content
    fields = find_kind(kind).resources.model_fields
    return {**content, "resources": {k: v for k, v in resources.items() if k in fields}}


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
        for part in storage.folders(folder) if name.count("/") < 4 else ():
            visit(f"{folder}/{part}", f"{name}/{part}" if name else part)

    visit(STUDIES, "")
    return found
