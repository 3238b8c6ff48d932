"""Several processes at once, and processes that are stopped or killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_trouble import plant

import recalltrap as rt
from recalltrap.run.display import Silent
from recalltrap.run.plan import Pack
from recalltrap.store.storage import Storage

pytestmark = pytest.mark.slow

StudyFile = Callable[..., str]

RUN = """
import sys
from recalltrap.cli.guarded import guarded
from recalltrap.run.run import run
guarded(lambda: print(run(sys.argv[1], storage=sys.argv[2], local=True).folder))()
"""


@pytest.fixture
def trouble(tmp_path: Path) -> Path:
    folder = tmp_path / "trouble"
    folder.mkdir()
    return folder


def start(study: str, storage: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, study, storage],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def await_file(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def built(trouble: Path) -> Counter[str]:
    """How often each stage execution was done, whoever did it."""
    lines = (trouble / "built.log").read_text().splitlines()
    return Counter(node for line in lines for node in line.split()[2:])


def test_two_runs_at_once_agree_and_share_the_work(
    study_file: StudyFile, storage: str, trouble: Path, tmp_path: Path
) -> None:
    """The first holds p' while the second arrives and wants it too."""
    study = study_file(settings={"trouble": str(trouble)})
    hold = plant(trouble, "wait", "sft", seed=0)
    first = start(study, storage)
    await_file(trouble / "waiting", first)
    hold.unlink()
    second = start(study, storage)
    launches = Path(storage, "studies/toy/test/launches")
    while len(list(launches.glob("*.json"))) < 2:
        assert second.poll() is None, second.communicate()
        time.sleep(0.01)
    (trouble / "release").touch()
    for process in (first, second):
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
    both = rt.open_run("toy/test", storage)
    assert both.table("cells").num_rows == 12
    assert both.sql("select distinct status from cells")["status"].to_pylist() == ["succeeded"]
    assert set(built(trouble).values()) == {1}
    alone = rt.run(study, storage=str(tmp_path / "alone"), local=True)
    for table in ("metrics", "curves"):
        query = f"select * from {table} order by all"
        assert both.sql(query).equals(alone.sql(query)), table
    twice = both.sql("select count(*) as n from costs").to_pylist()
    assert twice == alone.sql("select count(*) as n from costs").to_pylist()


def test_overlapping_seeds_at_once_leave_each_row_once(
    study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    """Packs differ, cells overlap: the same cell in two parts is shown once."""
    study = study_file()
    processes = []
    for index, seeds in enumerate(["seeds=4", "seeds=[2, 3, 4, 5]"]):
        path = tmp_path / f"{index}.yaml"
        path.write_text(rt.load_study(study, [seeds]).to_yaml())
        processes.append(start(str(path), storage))
    for process in processes:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
    results = rt.run(study, seeds=6, storage=storage, local=True)
    assert results.launches()[-1]["stages_built"] == 0
    assert results.table("cells").num_rows == 2 * 2 * 6
    rows = results.sql("""
        select max(n) as most from (
            select cell_id, model, metric, count(*) as n from metrics group by all)""")
    assert rows.to_pylist() == [{"most": 1}]


def test_ctrl_c_keeps_what_is_finished_and_the_next_run_does_the_rest(
    study_file: StudyFile, storage: str, trouble: Path, tmp_path: Path
) -> None:
    study = study_file(settings={"trouble": str(trouble)})
    hold = plant(trouble, "wait", "align", kl_weight=2.0)
    process = start(study, storage)
    await_file(trouble / "waiting", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; finished work is kept" in errors
    assert "Traceback" not in errors
    stopped = rt.open_run("toy/test", storage)
    kept = stopped.table("cells").to_pylist()
    assert {(row["kl_weight"], row["status"]) for row in kept} == {(0.5, "succeeded")}
    assert not stopped.table("failures").num_rows
    done = built(trouble)
    hold.unlink()
    rest = rt.run(study, storage=storage, local=True)
    assert rest.table("cells").num_rows == 12
    ids = {row["cell_id"] for row in kept}
    assert [row for row in rest.table("cells").to_pylist() if row["cell_id"] in ids] == kept
    assert max(built(trouble).values()) <= 2
    interrupted = [node for node, count in (built(trouble) - done).items() if node in done]
    assert all(done[node] == 1 for node in interrupted)
    whole = rt.run(study, storage=str(tmp_path / "whole"), local=True)
    query = "select * from metrics order by all"
    assert rest.sql(query).equals(whole.sql(query))


def test_a_killed_run_is_continued_and_its_locks_are_free(
    study_file: StudyFile, storage: str, trouble: Path
) -> None:
    study = study_file(settings={"trouble": str(trouble)})
    cause = plant(trouble, "kill", "align", kl_weight=2.0, seed=1)
    process = start(study, storage)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert os.listdir(f"{storage}/locks")
    cause.unlink()
    results = rt.run(study, storage=storage, local=True)
    assert results.table("cells").num_rows == 12
    assert results.sql("select distinct status from cells")["status"].to_pylist() == ["succeeded"]


def test_a_waiting_run_says_so_and_goes_on_when_the_holder_dies(
    study_file: StudyFile, storage: str, trouble: Path
) -> None:
    study = study_file(settings={"trouble": str(trouble)}, orderings=["K"], grid={}, seeds=1)
    plant(trouble, "wait", "sft", once=True)
    holder = start(study, storage)
    await_file(trouble / "waiting", holder)
    waiting: list[str] = []

    class Killer(Silent):
        """Kills the holder as soon as this run has reported that it waits."""

        def progress(self, pack: Pack, row: dict[str, Any]) -> None:
            if "waiting_for_another_run" in row:
                waiting.append(str(row["stage"]))
                holder.kill()

    results = rt.run(study, storage=storage, local=True, display=Killer())
    holder.communicate(timeout=30)
    assert waiting == ["sft"]
    assert results.table("cells")["status"].to_pylist() == ["succeeded"]
    assert Storage(storage).list("locks") == []
