"""What goes wrong while a study runs: it fails alone, it is recorded, and it can be tried again."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_kind import KIND
from toy_trouble import plant

import recalltrap as rt
from recalltrap.errors import FailureClass
from recalltrap.results.results import Results
from recalltrap.run.execution import record_failure
from recalltrap.run.plan import make_plan
from recalltrap.run.run import make_context
from recalltrap.store.store import ArtifactStore

pytestmark = pytest.mark.slow

LOST: tuple[FailureClass, str, str] = ("worker_lost", "the worker process died", "")
StudyFile = Callable[..., str]
Snapshot = Callable[[str], dict[str, tuple[bytes, int]]]


@pytest.fixture
def trouble(tmp_path: Path) -> Path:
    folder = tmp_path / "trouble"
    folder.mkdir()
    return folder


@pytest.fixture
def study(study_file: StudyFile, trouble: Path) -> str:
    return study_file(settings={"trouble": str(trouble)})


def status(results: Results) -> dict[tuple[str, float, int], str]:
    rows = results.table("cells").to_pylist()
    return {(row["ordering"], row["kl_weight"], row["seed"]): row["status"] for row in rows}


def failed(results: Results) -> set[tuple[str, float, int]]:
    return {cell for cell, word in status(results).items() if word == "failed"}


def failures(results: Results) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = results.sql("select * from failures order by all").to_pylist()
    return rows


def test_a_row_that_becomes_nan_fails_alone(study: str, storage: str, trouble: Path) -> None:
    plant(trouble, "nan", "align", seed=1, kl_weight=2.0)
    results = rt.run(study, storage=storage, local=True)
    assert len(status(results)) == 12
    assert failed(results) == {("K-A", 2.0, 1), ("A-K", 2.0, 1)}
    rows = failures(results)
    assert sorted((row["ordering"], row["seed"]) for row in rows) == [("A-K", 1), ("K-A", 1)]
    assert {row["failure"] for row in rows} == {"nan"}
    assert all("became NaN" in row["message"] for row in rows)
    assert {row["attempt"] for row in rows} == {1}
    shown = results.sql("select count(distinct cell_id) as n from metrics").to_pylist()
    assert shown == [{"n": 10}]


def test_the_retry_command_does_the_rest(study: str, storage: str, trouble: Path) -> None:
    cause = plant(trouble, "nan", "align", seed=1, kl_weight=2.0)
    first = rt.run(study, storage=storage, local=True)
    command = shlex.split(failures(first)[0]["retry_command"])
    assert command[:2] == ["recalltrap", "run"]
    assert command[3:] == ["--storage", storage]
    again = rt.run(command[2], storage=command[4], local=True)
    assert {row["attempt"] for row in failures(again)} == {1, 2}
    assert len(failed(again)) == 2
    cause.unlink()
    built = len((trouble / "built.log").read_text().splitlines())
    healed = rt.run(command[2], storage=command[4], local=True)
    assert not failed(healed)
    assert len((trouble / "built.log").read_text().splitlines()) - built == 3  # 2 align, 1 distill
    attempts = healed.sql("select attempt, count(*) as n from cells group by 1 order by 1")
    assert attempts.to_pylist() == [{"attempt": 1, "n": 10}, {"attempt": 3, "n": 2}]
    assert len(failures(healed)) == 4, "every attempt is kept"


def test_a_shared_stage_that_breaks_takes_what_needs_it_and_no_more(
    study_file: StudyFile, storage: str, trouble: Path
) -> None:
    study = study_file(
        settings={"trouble": str(trouble)}, grid={"student_components": [2, 3]}, seeds=2
    )
    cause = plant(trouble, "raise", "distill", student_components=3)
    results = rt.run(study, storage=storage, local=True)
    rows = results.table("cells").to_pylist()
    assert {(row["student_components"], row["status"]) for row in rows} == {
        (2, "succeeded"), (3, "failed")
    }  # fmt: skip
    for row in failures(results):
        assert row["failure"] == "user_code"
        assert "toy distill broke on purpose" in row["message"]
    cause.unlink()
    healed = rt.run(study, storage=storage, local=True)
    assert {row["status"] for row in healed.table("cells").to_pylist()} == {"succeeded"}


def test_a_stage_that_raises_fails_its_pack_alone(study: str, storage: str, trouble: Path) -> None:
    plant(trouble, "raise", "align", kl_weight=0.5, seed=2)
    results = rt.run(study, storage=storage, local=True)
    assert failed(results) == {(o, 0.5, seed) for o in ("K-A", "A-K") for seed in range(3)}
    assert "RuntimeError: toy align broke on purpose" in failures(results)[0]["message"]
    assert "toy_kind.py" in failures(results)[0]["log_tail"]


def test_a_stage_says_itself_what_class_of_failure_it_is(
    study: str, storage: str, trouble: Path
) -> None:
    plant(trouble, "stage_error", "align", kl_weight=0.5)
    results = rt.run(study, storage=storage, local=True)
    assert {(row["failure"], row["message"]) for row in failures(results)} == {
        ("timeout", "toy align took too long on purpose")
    }


def test_an_evaluation_that_raises_keeps_the_artifacts(
    study: str, storage: str, trouble: Path
) -> None:
    cause = plant(trouble, "raise", "evaluate", kl_weight=0.5, seed=0)
    results = rt.run(study, storage=storage, local=True)
    assert len(failed(results)) == 6
    cause.unlink()
    built = (trouble / "built.log").read_text()
    healed = rt.run(study, storage=storage, local=True)
    assert not failed(healed)
    assert (trouble / "built.log").read_text() == built


def test_when_everything_fails_the_tables_say_so(study: str, storage: str, trouble: Path) -> None:
    cause = plant(trouble, "raise", "sft")
    results = rt.run(study, storage=storage, local=True)
    assert len(failed(results)) == 12
    assert results.table("metrics").num_rows == results.table("curves").num_rows == 0
    assert len(failures(results)) == 12
    cause.unlink()
    assert not failed(rt.run(study, storage=storage, local=True))


def test_a_failure_never_replaces_what_another_run_finished(
    study_file: StudyFile, storage: str
) -> None:
    """Two runs at once have packs of one name; one of them loses its worker at the end."""
    results = rt.run(study_file(), storage=storage, local=True)
    plan = make_plan(results.study, KIND, ArtifactStore(results.storage), ())
    record_failure(make_context(plan, results.storage), plan.packs[0], LOST, "other")
    after = rt.open_run("toy/test", storage)
    assert len(failures(after)) == len(plan.packs[0].cells) > 0
    assert not failed(after)
    assert after.table("metrics").equals(results.table("metrics"))
