"""A run through Ray's client (`ray://`) that can't go on: it ends soon, with one line, keeps what
stands, and leaves nobody; and a stage that takes too long there.

Each has a head of its own, with a token, as a user starts one.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from ray_head import Head, started_head
from toy_processes import await_nobody, named, processes_with, start
from toy_trouble import plant

import recalltrap as rt

pytestmark = [
    pytest.mark.ray, pytest.mark.slow, pytest.mark.cluster,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds its processes in /proc"),
]  # fmt: skip

StudyFile = Callable[..., str]
KEPT = "finished work is kept, and running the same command again does the rest"
CLUSTER, DRIVER = "Ray's cluster is lost: ", "what drives the run on the head is lost: "
WORKERS = ("Trainable", "ImplicitFunc", "RayTrainWorker", "_drive", "Mailbox", "Events")
"""In the titles of the processes that a run has on a cluster."""


class Client:
    """A study of one cell that waits at its alignment, run through a head's client server."""

    def __init__(self, head: Head, kind: str, study_file: StudyFile, folder: Path) -> None:
        self.head, self.mark, self.storage = head, uuid.uuid4().hex, str(folder / "runs")
        self.trouble = folder / "trouble"
        where = "align" if kind == "toy" else "align/7"
        self.hold = plant(self.trouble, "wait", where, kl_weight=2.0)
        self.study = study_file(
            kind=kind, orderings=["K-A"], seeds=1, grid={"kl_weight": [2.0]},
            settings={"trouble": str(self.trouble)},
        )  # fmt: skip

    def run(self, *more: str) -> subprocess.Popen[str]:
        words = ["run", self.study, "--storage", self.storage, "--address", self.head.client]
        return start(self.mark, *words, *more, **self.head.environment)

    def at_work(self) -> subprocess.Popen[str]:
        process = self.run()
        while not (self.trouble / "waiting").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        return process

    def check_end(self, process: subprocess.Popen[str], status: int, said: str) -> None:
        """It ends in twenty seconds, with one line, and nobody is left here or at work there."""
        began = time.monotonic()
        output, errors = process.communicate(timeout=60)
        assert time.monotonic() - began < 20
        assert (process.returncode, output) == (status, ""), errors
        told = ("toy/test: ", "note: Ray's dashboard", "0/1 cells, ")
        lines = [line for line in errors.splitlines() if line and not line.startswith(told)]
        assert len(lines) == 1, errors
        assert re.match(f"recalltrap: {said}.*; {KEPT}$", lines[0])
        await_nobody(self.mark)

    def await_idle(self) -> None:
        """Until the cluster works no more: what a client has left, Ray ends in half a minute."""
        deadline = time.monotonic() + 45
        while left := [p for p in processes_with(self.head.mark) if any(w in p for w in WORKERS)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.2)

    def check_rest(self) -> None:
        results = rt.open_run("toy/test", self.storage)
        assert results.sql("select status from cells")["status"].to_pylist() == ["succeeded"]
        assert not results.table("failures").num_rows


@pytest.mark.parametrize(
    ("kind", "number", "status"),
    [("toy", signal.SIGTERM, 143), ("toy", signal.SIGINT, 130), ("toy_group", signal.SIGTERM, 143)],
)
def test_a_signal_ends_it_and_its_trials_and_the_same_command_goes_on(
    kind: str, number: int, status: int, study_file: StudyFile, tmp_path: Path
) -> None:
    with started_head() as head:
        client = Client(head, kind, study_file, tmp_path)
        process = client.at_work()
        process.send_signal(number)
        client.check_end(process, status, "interrupted")
        client.await_idle()
        client.hold.unlink()
        again = client.run()
        _, errors = again.communicate(timeout=200)
        assert again.returncode == 0, errors
        client.check_rest()


@pytest.mark.parametrize(
    ("victim", "said"),
    [
        # Who of them is missed first is chance: they end together.
        ("gcs_server", f"({CLUSTER}|{DRIVER})"),
        ("raylet", f"({CLUSTER}|{DRIVER})"),
        ("--mode=proxy", f"{CLUSTER}its client server"),
        ("--mode=specific-server", f"{CLUSTER}its server for this client says nothing any more"),
        ("ray::_drive", f"{DRIVER}The worker died unexpectedly"),
    ],
)
def test_a_lost_head_ends_it_and_the_rest_is_done_elsewhere(
    victim: str, said: str, study_file: StudyFile, tmp_path: Path
) -> None:
    with started_head() as head:
        client = Client(head, "toy", study_file, tmp_path)
        process = client.at_work()
        (server,) = named(head.mark, victim)
        server.kill()
        client.check_end(process, 1, said)
        client.await_idle()
        head.lose()
    client.hold.unlink()
    rt.run(client.study, storage=client.storage, local=True)
    client.check_rest()


def test_what_does_not_fit_is_refused_and_what_takes_too_long_has_failed(
    study_file: StudyFile, tmp_path: Path
) -> None:
    """Word of a stage that hangs comes a minute after its time was up."""
    with started_head() as head:
        client = Client(head, "toy", study_file, tmp_path)
        refused = client.run("-o", "resources.cpus_per_trial=3")
        _, errors = refused.communicate(timeout=100)
        assert (refused.returncode, errors.count("\n")) == (2, 1), errors
        assert "asks for 3 CPU on one node, and the most that any" in errors
        assert not Path(client.storage).exists()
        hanging = client.run("-o", "resources.time_limits={align: 0.01}")
        _, errors = hanging.communicate(timeout=250)
        assert hanging.returncode == 1, errors
        assert "Traceback" not in errors
        results = rt.open_run("toy/test", client.storage)
        (failure,) = results.table("failures").to_pylist()
        assert failure["failure"] == "timeout"
        assert failure["message"].endswith("raise resources.time_limits.align")
        await_nobody(client.mark)
        client.hold.unlink()
        again = client.run()
        _, errors = again.communicate(timeout=200)
        assert again.returncode == 0, errors
        statuses = rt.open_run("toy/test", client.storage).sql("select status from cells")
        assert statuses["status"].to_pylist() == ["succeeded"]
