"""The command line with a Ray of its own, stopped in the middle, and on a joined cluster."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy_processes import MARK, RAY_SERVERS, await_nobody, is_loopback, listening, start
from toy_trouble import plant

import recalltrap as rt
from recalltrap_cluster.ray_internals import CLIENT_SERVER_ENVIRONMENT, LOOPBACK_ENVIRONMENT

pytestmark = pytest.mark.ray

StudyFile = Callable[..., str]
TOKEN = uuid.uuid4().hex


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds its processes in /proc")
@pytest.mark.timeout(150)
def test_a_run_listens_on_loopback_and_ctrl_c_keeps_what_is_finished_and_leaves_no_process(
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
    sockets = listening(mark)
    servers = {each.split()[-1] for each in sockets}
    assert servers > RAY_SERVERS, "Ray's servers, and the driver or a worker"
    assert not [each for each in sockets if not is_loopback(each)]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert output == ""
    assert "interrupted; finished work is kept" in errors
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


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", False),
     ("::", False), ("192.0.2.2", False), ("::ffff:192.0.2.2", False)],
)  # fmt: skip
def test_loopback_is_told_from_the_rest(address: str, expected: bool) -> None:
    assert is_loopback(f"{address} 6379 gcs_server") is expected


@dataclass(frozen=True)
class Cluster:
    """A head that was started by hand: its own address, and the one of its client server."""

    address: str
    client: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One on loopback, with a token."""
    ports = [_free_port(), _free_port()]
    mark = uuid.uuid4().hex
    folder = tempfile.mkdtemp(prefix="rt-", dir="/tmp")  # short: sockets' names are limited
    head = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
            "--port", str(ports[0]), "--ray-client-server-port", str(ports[1]),
            "--num-cpus", "2", "--include-dashboard", "false", "--disable-usage-stats",
            "--temp-dir", folder,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, MARK: mark, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN,
             **LOOPBACK_ENVIRONMENT, **CLIENT_SERVER_ENVIRONMENT},
    )  # fmt: skip
    try:
        assert head.stdout is not None
        assert any("Ray runtime started" in line for line in head.stdout), "ray start ended"
        yield Cluster(*(f"127.0.0.1:{port}" for port in ports))
    finally:
        head.terminate()
        head.communicate(timeout=30)
        await_nobody(mark)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("how", ["auto", "client"])
def test_a_joined_cluster_gives_the_same_numbers_and_goes_on(
    how: str, cluster: Cluster, study_file: StudyFile, storage: str, tmp_path: Path
) -> None:
    study = study_file(orderings=["K-A"], seeds=2)
    address = "auto" if how == "auto" else f"ray://{cluster.client}"
    process = start(
        "joined", "run", study, "--storage", storage, "--address", address,
        RAY_ADDRESS=cluster.address, RAY_AUTH_TOKEN=TOKEN, **LOOPBACK_ENVIRONMENT,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "report: " in output
    assert "4/4 cells" in errors
    joined = rt.open_run("toy/test", storage)
    here = rt.run(study, storage=str(tmp_path / "here"), local=True)
    for table in ("metrics", "curves"):
        assert joined.table(table).equals(here.table(table))
    assert len(joined.result_grid()) == 4
    host, port = cluster.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5):
        pass  # the cluster is left as it was found
