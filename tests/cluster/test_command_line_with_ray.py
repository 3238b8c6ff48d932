"""The command line with a Ray of its own, stopped in the middle, and on a joined cluster."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_processes import RAY_SERVERS, await_nobody, is_loopback, listening, start
from toy_trouble import plant

import recalltrap as rt

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
