"""Reading a run: by folder or name, as tables, frames and SQL, and never writing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from html import escape
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap.results.results import Results, known_runs
from recalltrap.results.tables import COLUMNS
from recalltrap.run import run as runs
from recalltrap.store.storage import Storage

StudyFile = Callable[..., str]
Snapshot = Callable[[str], dict[str, tuple[bytes, int]]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Results:
    storage = tmp_path_factory.mktemp("results") / "runs"
    return rt.run("toy/tiny", storage=str(storage), local=True)


@pytest.fixture
def results(finished: Results) -> Results:
    """The same run with a connection of its own."""
    return Results(finished.storage, finished.run)


def test_a_run_opens_by_its_folder_and_by_its_name(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(results.storage.location)
    monkeypatch.chdir(root.parent)
    for opened in (
        rt.open_run("toy/tiny", str(root)),
        rt.open_run("toy/tiny"),  # under `runs`, here
        rt.open_run(str(root / "studies/toy/tiny")),
        rt.open_run(f"{root}/studies/toy/tiny/"),
        rt.open_run("runs/studies/toy/tiny"),
        rt.open_run(str(root / "studies/toy/tiny"), str(root)),
    ):
        assert opened.folder == results.folder
        assert opened.table("cells").equals(results.table("cells"))


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("toy/tinny", "did you mean 'toy/tiny'"),
        ("zzz", "allowed: 'toy/tiny'"),
        ("../../etc", "no run"),
        ("/etc", "no run"),
        ("", "no run"),
    ],
)
def test_an_unknown_run_gets_a_hint(run: str, expected: str, results: Results) -> None:
    with pytest.raises(InputError, match=expected):
        rt.open_run(run, results.storage.location)


def test_an_empty_storage_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing was run there yet"):
        rt.open_run("toy/tiny", str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["quick", "mine/quick", "a/b/c/d"])
def test_what_a_check_or_a_stray_file_leaves_is_no_run(name: str, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.prepare()
    storage.write(f"studies/{name}/tables/costs/part.parquet", b"of a forecast or a check")
    storage.write("studies/notes.txt", b"a user's")
    assert known_runs(storage) == []
    storage.write("studies/x/study.yaml", b"")
    assert known_runs(storage) == ["x"]


def test_a_study_file_outside_a_storage_is_no_run(study_file: StudyFile) -> None:
    folder = str(Path(study_file()).parent)
    with pytest.raises(InputError, match="not inside a recalltrap storage"):
        rt.open_run(folder)


def test_a_question_in_sql(results: Results) -> None:
    answer = results.sql("""
        select ordering, kl_weight, avg(value) as reward, count(*) as n
        from metrics where model = 'final' and metric = 'reward' group by all order by all""")
    assert isinstance(answer, pa.Table)
    rows = results.table("metrics").to_pylist()
    for found in answer.to_pylist():
        values = [
            row["value"] for row in rows
            if (row["model"], row["metric"]) == ("final", "reward")
            and (row["ordering"], row["kl_weight"]) == (found["ordering"], found["kl_weight"])
        ]  # fmt: skip
        assert found["n"] == len(values) == 3
        assert found["reward"] == pytest.approx(sum(values) / 3)


def test_reading_is_quiet(results: Results) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results.frame("metrics")
        results.sql("select 1")


@pytest.mark.slow
@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_as_frame(results: Results, name: str) -> None:
    frame = results.frame(name)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == results.table(name).column_names
    assert len(frame) == results.table(name).num_rows


def test_times_are_utc_wherever_the_reader_sits(results: Results) -> None:
    assert results.table("cells").schema.field("started_at").type == pa.timestamp("us", tz="UTC")


def test_the_study_of_a_run(results: Results) -> None:
    assert results.study.name == "toy/tiny"
    assert results.axes == ("kl_weight",)
    assert len(results.planned()) == 12
    assert results.metrics()["reward"].label == "reward"
    cell = results.planned()[0]
    assert results.store.read(cell.models["final"], "model.safetensors")


def test_an_unknown_table_gets_a_hint(results: Results) -> None:
    with pytest.raises(InputError, match="did you mean 'metrics'"):
        results.table("metric")


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    ["selec 1", "select nothing from cells", "select * from nowhere", "", "  ;  ",
     "select 1 / 'x' from cells", "select * from cells where"],
)  # fmt: skip
def test_a_wrong_query_is_refused(results: Results, query: str) -> None:
    with pytest.raises(InputError, match="query"):
        results.sql(query)
    assert results.sql("select count(*) as n from cells").to_pylist() == [{"n": 12}]


def test_a_querys_words_are_never_our_own_variables(results: Results) -> None:
    for name in ("query", "results", "relation"):
        with pytest.raises(InputError, match="does not exist"):
            results.sql(f"select * from {name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "copy (select * from cells) to '{0}'",
        "copy (select * from cells) to '{0}' (format csv)",
        "copy (select 1) to '{1}/tables/cells/new.parquet'",
        "explain analyze copy (select 1) to '{1}/tables/cells/new.parquet'",
        "export database '{0}'",
        "attach '{0}' as other",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from read_text('/etc/passwd')",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set python_enable_replacements = true; copy (select 1) to '{0}'",
        "insert into cells select * from cells",
        "delete from cells_parts",
        "update cells set seed = 0",
    ],
)
def test_a_query_reaches_no_files_and_changes_no_rows(
    results: Results, query: str, tmp_path: Path, snapshot: Snapshot
) -> None:
    before = snapshot(results.storage.location)
    with pytest.raises(InputError):
        results.sql(query.format(tmp_path / "stolen", results.folder))
    assert not (tmp_path / "stolen").exists()
    assert snapshot(results.storage.location) == before


@pytest.mark.slow
def test_an_open_run_shows_what_it_saw(study_file: StudyFile, storage: str) -> None:
    """A notebook keeps its state while the study is run again beside it."""
    first = rt.run(study_file(), storage=storage, local=True)
    seen = {name: first.table(name) for name in ("planned", "cells")}
    rows = first.sql("select count(*) as n from metrics")
    rt.run(study_file(), overrides=["settings.iterations=3"], storage=storage, local=True)
    assert {name: first.table(name) for name in seen} == seen
    assert first.sql("select count(*) as n from metrics").equals(rows)


def test_trials_of_a_run_without_tune(results: Results) -> None:
    with pytest.raises(InputError, match=r"was it run with --local\?"):
        results.result_grid()


@pytest.mark.slow
def test_parts_without_their_cells_do_not_count(study_file: StudyFile, storage: str) -> None:
    """A kill between the last metrics and `cells` leaves rows that belong to nobody."""
    results = rt.run(study_file(), storage=storage, local=True)
    part = sorted(Path(results.folder, "tables/cells").glob("*.parquet"))[0]
    part.unlink()
    reopened = rt.open_run("toy/test", storage)
    assert reopened.table("cells").num_rows == 9
    counted = reopened.sql("select count(distinct cell_id) as n from metrics").to_pylist()
    assert counted == [{"n": 9}]
    again = rt.run(study_file(), storage=storage, local=True)
    assert again.table("cells").num_rows == 12
    assert again.launches()[-1]["stages_built"] == 0


def test_status_counts_cells_by_ordering_and_in_all(results: Results) -> None:
    status = results.status()
    assert status.columns.tolist() == ["ordering", "planned", "succeeded", "failed", "missing"]
    assert status["ordering"].tolist()[-1] == "all"
    cells = results.table("cells").to_pandas().groupby("ordering").size()
    assert status["succeeded"].tolist() == [*cells.loc[status["ordering"][:-1]], cells.sum()]


def test_the_verdict_is_the_summary_s(results: Results) -> None:
    verdict = results.verdict()
    assert verdict.sentence == results.summary.sentence == str(verdict)
    assert verdict.word in verdict.sentence.lower()
    assert (verdict.planned, verdict.missing) == (results.table("planned").num_rows, 0)


@pytest.mark.slow
def test_the_report_is_written_where_it_says(finished: Results) -> None:
    page = finished.report()
    assert page == f"{finished.folder}/report/index.html"
    assert str(finished.verdict()) in Path(page).read_text()
    assert finished.report("markdown").endswith("report.md")
    with pytest.raises(InputError, match="unknown format"):
        finished.report("pdf")


def test_a_notebook_sees_the_study_its_cells_and_its_verdict(results: Results) -> None:
    shown = results._repr_html_()
    assert results.study.name in shown
    to_do, verdict = results.recommendation().sentence, results.verdict().sentence
    assert 0 < shown.index(escape(to_do)) < shown.index(escape(verdict))
    for name in COLUMNS:
        assert f"{name} ({results.table(name).num_rows:,})" in shown


@pytest.mark.slow
def test_a_notebook_sees_what_is_missing_instead_of_a_verdict(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = rt.run(study_file(), seeds=1, storage=storage, local=True)
    assert "Not finished" not in done._repr_html_()
    monkeypatch.setattr(runs, "execute_here", lambda *_: None)
    begun = rt.run(study_file(), seeds=2, storage=storage, local=True)
    assert "Not finished: 4 cells missing" in begun._repr_html_()
    assert escape(begun.recommendation().sentence) not in begun._repr_html_()
    assert int(begun.status()["missing"].iloc[-1]) == 4


def test_a_notebook_is_told_why_a_run_cannot_be_read(results: Results) -> None:
    shown = Results(results.storage, "studies/toy/nowhere")._repr_html_()
    assert "holds no study.yaml" in shown
