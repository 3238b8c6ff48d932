"""The command line with a Ray of its own, stopped in the middle, and on a joined cluster."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_processes import MARK, await_nobody, processes_with, start
from toy_trouble import plant

import recalltrap as rt

pytestmark = pytest.mark.ray

StudyFile = Callable[..., str]
TOKEN = uuid.uuid4().hex


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds its processes in /proc")
def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process(
    study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    trouble, mark = tmp_path / "trouble", uuid.uuid4().hex
    hold = plant(trouble, "wait", "align", kl_weight=2.0)
    study = study_file(orderings=["K-A"], seeds=2, settings={"trouble": str(trouble)})
    process = start(mark, "run", study, "--storage", storage)
    finished = Path(storage, "studies/toy/test/tables/cells")
    while not (trouble / "waiting").exists() or not list(finished.glob("*.parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    assert processes_with(mark)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert output == ""
    assert "interrupted; what was finished is kept" in errors
    assert "Traceback" not in errors
    await_nobody(mark)
    stopped = rt.open_run("toy/test", storage)
    kept = stopped.table("cells").to_pylist()
    assert {(row["kl_weight"], row["status"]) for row in kept} == {(0.5, "succeeded")}
    assert not stopped.table("failures").num_rows
    hold.unlink()
    rest = rt.run(study, storage=storage, local=True)
    assert rest.table("cells").num_rows == 4
    assert [row for row in rest.table("cells").to_pylist() if row["kl_weight"] == 0.5] == kept
    assert rest.launches()[-1]["done_before"] == 2


@pytest.fixture
def cluster() -> Iterator[str]:
    """A head that was started by hand, with a token; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mark = uuid.uuid4().hex
    folder = tempfile.mkdtemp(prefix="rt-", dir="/tmp")  # short: sockets' names are limited
    head = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
            "--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", "2",
            "--include-dashboard", "false", "--disable-usage-stats",
            "--temp-dir", folder,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, MARK: mark, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN},
    )  # fmt: skip
    try:
        assert head.stdout is not None
        found = (re.search(r"--address='([^']+)'", line) for line in head.stdout)
        yield next((match[1] for match in found if match), "ray start ended")
    finally:
        head.terminate()
        head.communicate(timeout=30)
        await_nobody(mark)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_joined_cluster_gives_the_same_numbers_and_goes_on(
    cluster: str, study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    study = study_file(orderings=["K-A"], seeds=2)
    process = start("joined", "run", study, "--storage", storage, "--address", "auto",
                    RAY_ADDRESS=cluster, RAY_AUTH_TOKEN=TOKEN)  # fmt: skip
    output, errors = process.communicate(timeout=50)
    assert process.returncode == 0, errors
    assert "report: " in output
    joined = rt.open_run("toy/test", storage)
    here = rt.run(study, storage=str(tmp_path / "here"), local=True)
    for table in ("metrics", "curves"):
        assert joined.table(table).equals(here.table(table))
    host, port = cluster.split(":")
    with socket.create_connection((host, int(port)), timeout=5):
        pass  # the cluster is left as it was found
