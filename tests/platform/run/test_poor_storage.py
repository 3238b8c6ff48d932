"""Storages that fail: full, failing a write in twenty, and an object store on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from object_store import ObjectStore, serve
from poor_storage import CAN_COMPILE, CAN_MOUNT, failing_writes, small_disk
from toy_trouble import plant

import recalltrap as rt
from recalltrap.results.results import Results
from recalltrap.store.storage import Storage

pytestmark = pytest.mark.slow

StudyFile = Callable[..., str]


def recalltrap(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recalltrap.cli.command_line", *arguments],
        capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip


def same_numbers(found: Results, expected: Results) -> None:
    for table in ("metrics", "curves"):
        query = f"select * from {table} order by all"
        assert found.sql(query).equals(expected.sql(query)), table
    assert not found.table("failures").num_rows


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix == ".tmp" or "locks" in path.parts]


@pytest.mark.skipif(not CAN_MOUNT, reason="makes a disk of its own, which needs root")
def test_a_full_disk_stops_the_run_with_one_line_and_loses_nothing(
    study_file: StudyFile, tmp_path: Path
) -> None:
    study = study_file(seeds=8)
    expected = rt.run(study, storage=tmp_path / "whole", local=True)
    with small_disk(tmp_path / "disk", 340) as disk:
        filler = disk / "filler"
        filler.write_bytes(b"x" * 100_000)
        storage = str(disk / "runs")
        full = recalltrap("run", study, "--storage", storage, "--local")
        assert full.returncode == 2, full.stderr
        assert full.stderr.splitlines()[-1].startswith("recalltrap: ")
        assert "the storage is full (No space left on device). Make room there" in full.stderr
        assert "Traceback" not in full.stderr
        kept = rt.open_run("toy/test", storage).table("cells").to_pylist()
        again = recalltrap("run", study, "--storage", storage, "--local")
        assert again.returncode == 2, "as long as there is no room"
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        rest = rt.run(study, storage=storage, local=True)
        assert rest.launches()[-1]["done_before"] == len(kept)
        same_numbers(rest, expected)
        assert not [path for path in leftovers(disk) if path.is_file()]


@pytest.mark.skipif(not CAN_COMPILE, reason="needs a C compiler, and Linux")
def test_a_write_in_twenty_that_fails_is_not_noticed(study_file: StudyFile, tmp_path: Path) -> None:
    study = study_file()
    expected = rt.run(study, storage=tmp_path / "whole", local=True)
    folder = tmp_path / "poor"
    done = recalltrap("run", study, "--storage", str(folder), "--local", **failing_writes(folder))
    assert done.returncode == 0, done.stderr
    same_numbers(rt.open_run("toy/test", folder), expected)
    assert rt.run(study, storage=folder, local=True).launches()[-1]["stages_built"] == 0


def test_what_a_kill_left_is_gone_after_the_next_run(
    study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    """The lock of what it was building, and half-written files everywhere."""
    trouble = tmp_path / "trouble"
    study = study_file(settings={"trouble": str(trouble)})
    cause = plant(trouble, "kill", "align", kl_weight=2.0, seed=1)
    assert recalltrap("run", study, "--storage", storage, "--local").returncode == -9
    assert os.listdir(f"{storage}/locks")
    built = next(path.parent for path in Path(storage, "artifacts/align").rglob("record.json"))
    run = Path(storage, "studies/toy/test")
    torn = f".x.json.{'0' * 32}.tmp"
    folders = [Path(storage), run, run / "launches", run / "tables/cells", run / "tables/metrics"]
    for folder in folders:
        (folder / torn).write_bytes(b'{"started_at": "20')
    rt.open_run("toy/test", storage).launches()  # reads all of them
    cause.unlink()
    built_before = (built / "record.json").stat().st_mtime_ns
    results = rt.run(study, storage=storage, local=True)
    assert results.table("cells").num_rows == 12
    assert (built / "record.json").stat().st_mtime_ns == built_before
    assert not [path for path in leftovers(Path(storage)) if path.is_file()]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with serve() as started:
        yield started


def test_a_study_in_an_object_store_from_start_to_report(
    store: ObjectStore, study_file: StudyFile, tmp_path: Path
) -> None:
    """Credentials in the location, and its endpoint in a query behind the path."""
    study, where = study_file(), {"RECALLTRAP_STORAGE": store.location("runs")}
    expected = rt.run(study, seeds=4, storage=tmp_path / "whole", local=True)
    first = recalltrap("run", study, "--local", **where)
    assert first.returncode == 0, first.stderr
    assert "report: s3://[redacted]@bucket/runs/studies/toy/test/report/index.html" in first.stdout
    more = recalltrap("run", study, "--local", "-o", "seeds=4", **where)
    assert "16 cells, 12 done before, 4 to do" in more.stderr, more.stderr
    asked = recalltrap("query", "toy/test", "select count(*) as n from cells", **where)
    assert asked.stdout.split() == ["n", "16"], asked.stderr
    assert "hunter2hunter2" not in first.stdout + first.stderr + more.stderr + asked.stderr
    results = rt.open_run("toy/test", store.location("runs"))
    same_numbers(results, expected)
    assert results.storage.list("leases") == []
    assert results.storage.exists(f"{results.run}/report/index.html")


def test_a_busy_object_store_is_asked_again(study_file: StudyFile, tmp_path: Path) -> None:
    study = study_file()
    expected = rt.run(study, storage=tmp_path / "whole", local=True)
    with serve(refuse_every=20) as busy:
        same_numbers(rt.run(study, storage=busy.location("runs"), local=True), expected)


def test_two_runs_at_once_in_an_object_store_build_nothing_twice(
    store: ObjectStore, study_file: StudyFile, tmp_path: Path
) -> None:
    trouble, location = tmp_path / "trouble", store.location("shared")
    study = study_file(settings={"trouble": str(trouble)})
    trouble.mkdir()
    command = [sys.executable, "-m", "recalltrap.cli.command_line", "run", study, "--local"]
    processes = [
        subprocess.Popen(
            [*command, "--storage", location],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    lines = (trouble / "built.log").read_text().splitlines()
    built = [node for line in lines for node in line.split()[2:]]
    assert len(set(built)) == len(built)
    assert Storage(location).list("leases") == []
