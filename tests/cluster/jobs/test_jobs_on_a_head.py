"""A head with a token that is joined in every way and takes jobs: the same rows, and no token out.

The commands are typed as a user would, in processes of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray_head import Head
from toy_processes import processes_with
from toy_trouble import plant

import recalltrap as rt
from recalltrap.store.provenance import ARGV_VARIABLE

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(600)]

StudyFile = Callable[..., str]
MIXTURE: dict[str, Any] = {
    "name": "mog/ways", "kind": "mog", "orderings": ["K-A", "A-K"], "seeds": 2,
    "grid": {"kl_weight": [0.5]}, "settings": {"student_components": 3, "iterations": 20},
}  # fmt: skip
RUN_SECONDS, WAIT_SECONDS = 600.0, 400.0
"""On a quiet machine a run takes 12 s; a busy one is no failure."""


class Shell:
    """`recalltrap ...` typed on the submitting machine, with a storage."""

    def __init__(self, head: Head, storage: str) -> None:
        self.head = head
        self.storage = storage

    def __call__(self, *words: str, status: int = 0, **environment: str) -> tuple[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k != ARGV_VARIABLE}  # this process's
        done = subprocess.run(
            [sys.executable, "-m", "recalltrap.cli.command_line", *words,
             "--storage", self.storage],
            capture_output=True, text=True, timeout=RUN_SECONDS,
            env={**inherited, "RAY_ADDRESS": self.head.address, **self.head.environment,
                 **environment},
        )  # fmt: skip
        assert done.returncode == status, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    def job(self, name: str) -> dict[str, Any]:
        (row,) = json.loads(self("status", name, "--format", "json")[0])
        return dict(row)


@pytest.fixture
def shell(head: Head, storage: str) -> Shell:
    return Shell(head, storage)


def submitted(output: str) -> str:
    return next(line for line in output.splitlines() if line.startswith("job: "))[5:]


def test_the_same_file_gives_the_same_rows_in_every_way(
    head: Head, study_file: StudyFile, tmp_path: Path
) -> None:
    study = study_file(**MIXTURE)
    ways = {
        "local": ["run", study, "--address", "local"],
        "auto": ["run", study, "--address", "auto"],
        "client": ["run", study, "--address", head.client],
        "job": ["submit", study, "--address", head.dashboard, "--follow"],
    }
    here = rt.run(study, storage=str(tmp_path / "here"), local=True)
    for way, words in ways.items():
        output, errors = Shell(head, str(tmp_path / way))(*words)
        assert "report: " in output + errors, way
        assert "4/4 cells" in errors, way
        there = rt.open_run("mog/ways", str(tmp_path / way))
        for table in ("metrics", "curves"):
            assert there.table(table).equals(here.table(table)), (way, table)
        assert there.result_grid(), way
    source = rt.open_run("mog/ways", str(tmp_path / "job")).provenance()
    assert "+" in source["versions"]["recalltrap"], "the code came as a wheel"
    assert source["commit"] == here.provenance()["commit"]
    assert source["argv"][1] == "submit"
    host, port = head.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5):
        pass  # the cluster is left as it was found


def test_a_job_is_seen_stopped_and_sent_again(
    head: Head, shell: Shell, study_file: StudyFile, tmp_path: Path
) -> None:
    trouble = tmp_path / "trouble"
    hold = plant(trouble, "wait", "align", kl_weight=2.0)
    study = study_file(orderings=["K-A"], seeds=2, settings={"trouble": str(trouble)})
    output, _ = shell("submit", study, "--address", head.dashboard)
    job = submitted(output)
    assert f"dashboard: {head.dashboard}/#/jobs/{job}" in output
    deadline = time.monotonic() + WAIT_SECONDS
    while not (shell.job(job)["succeeded"] or 0) >= 2:
        assert time.monotonic() < deadline, shell("logs", job)
        time.sleep(0.5)
    row = shell.job(job)
    assert (row["state"], row["planned"], row["missing"]) == ("running", 4, 2)
    refused = shell("submit", study, "--address", head.dashboard, status=2)[1]
    assert f"the job {job} runs toy/test already" in refused
    assert "asks the cluster for the last job" in shell("status", "toy/test")[1]
    assert "stopping" in shell("stop", job)[0]
    while (row := shell.job(job))["state"] == "running":
        assert time.monotonic() < deadline + WAIT_SECONDS
        time.sleep(0.5)
    assert (row["state"], row["succeeded"], row["missing"]) == ("stopped", 2, 2)
    assert "ended already (stopped)" in shell("stop", "toy/test")[0]
    shell("logs", job, "--follow", status=1)
    hold.unlink()
    again, shown = shell("submit", study, "--address", head.dashboard, "--follow")
    assert "4 cells, 2 done before, 2 to do" in shown
    assert submitted(again) != job
    assert "nothing to do" in shell("submit", study, "--address", head.dashboard)[0]
    log = shell("logs", "toy/test")[0]
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [events[0]["event"], events[-1]["event"]] == ["begin", "end"]
    of_trials = [event for event in events if "trial" in event]
    assert of_trials
    assert all(event["cells"] for event in of_trials)
    page = shell("report", job)[0].strip()
    assert Path(page).is_file()
    _no_token_anywhere(head, shell.storage)


def _no_token_anywhere(head: Head, storage: str) -> None:
    """Not in files of the storage, command lines, nor in what the cluster says of its jobs."""
    files = [path for path in Path(storage).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if head.token.encode() in path.read_bytes()]
    assert not [line for line in processes_with(head.mark) if head.token in line]
    asked = urllib.request.Request(
        f"{head.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {head.token}"}
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        said = answer.read().decode()
    assert "toy/test" in said
    assert head.token not in said
    assert storage not in said, "where the results go is the job's business"


@pytest.mark.parametrize("token", ["0" * 32, ""], ids=["another", "none"])
def test_without_the_token_nothing_is_sent_or_written(
    token: str, head: Head, shell: Shell, study_file: StudyFile, tmp_path: Path
) -> None:
    study = study_file(orderings=["K-A"], seeds=1)
    _, errors = shell(
        "submit", study, "--address", head.dashboard, status=2,
        RAY_AUTH_TOKEN=token, HOME=str(tmp_path),
    )  # fmt: skip
    assert "to the cluster's token" in errors
    assert head.token not in errors
    assert not Path(shell.storage).exists()


def test_a_storage_that_the_cluster_does_not_see_is_refused_there(
    head: Head, shell: Shell, study_file: StudyFile, tmp_path: Path
) -> None:
    study = study_file(orderings=["K-A"], seeds=1)
    job = submitted(shell("submit", study, "--address", head.dashboard)[0])
    kept = shutil.copytree(shell.storage, tmp_path / "kept")
    Path(shell.storage, "jobs", f"{job}.json").unlink()  # the head has another folder of that name
    asking = Shell(head, str(kept))
    deadline = time.monotonic() + WAIT_SECONDS
    while (state := asking.job(job)["state"]) in ("pending", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert state == "failed"
    assert "is not the one that the job was sent with" in asking("logs", job)[0]
    assert not Path(shell.storage, "studies").exists()
