"""A run that can't go on: it ends soon, with one line, keeps what stands, and leaves nobody."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from toy_processes import MARK, await_nobody, start
from toy_trouble import plant

import recalltrap as rt

pytestmark = [
    pytest.mark.ray, pytest.mark.slow, pytest.mark.cluster,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds its processes in /proc"),
]  # fmt: skip

StudyFile = Callable[..., str]
KEPT = "finished work is kept, and running the same command again does the rest"


def servers(mark: str, name: str) -> list[psutil.Process]:
    """Ray's processes of that name which inherited a mark."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for process in psutil.process_iter():
        try:
            if process.name() == name:
                text = Path(f"/proc/{process.pid}/environ").read_bytes()
                found += [process] if wanted in text.split(b"\0") else []
        except (OSError, psutil.Error):
            continue  # it ended while we looked
    return found


@pytest.mark.parametrize(
    ("victim", "kind", "status", "said"),
    [
        ("", "toy", 143, "interrupted"),
        ("", "toy_group", 143, "interrupted"),
        ("raylet", "toy", 1, "Ray's cluster is lost: a raylet"),
        ("gcs_server", "toy", 1, "Ray's cluster is lost: its head (GCS)"),
    ],
)
def test_it_ends_in_twenty_seconds_with_one_line(
    victim: str, kind: str, status: int, said: str,
    study_file: StudyFile, storage: str, tmp_path: Path,
) -> None:  # fmt: skip
    """SIGTERM to the command, to a mixture's trials and to workers of a group; a lost cluster."""
    trouble, mark = tmp_path / "trouble", uuid.uuid4().hex
    where = "align" if kind == "toy" else "align/7"
    hold = plant(trouble, "wait", where, kl_weight=2.0)
    study = study_file(
        kind=kind, orderings=["K-A"], seeds=1, grid={"kl_weight": [2.0]},
        settings={"trouble": str(trouble)},
    )  # fmt: skip
    process = start(mark, "run", study, "--storage", storage)
    while not (trouble / "waiting").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    began = time.monotonic()
    if victim:
        (server,) = servers(mark, victim)
        server.kill()
    else:
        process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    took = time.monotonic() - began
    assert process.returncode == status, errors
    assert output == ""
    (line,) = [line for line in errors.splitlines() if line.startswith("recalltrap: ")]
    assert line.startswith(f"recalltrap: {said}")
    assert line.endswith(KEPT)
    assert "Traceback" not in errors
    assert "SIGTERM received" not in errors
    assert took < 20
    await_nobody(mark)
    hold.unlink()
    rest = rt.run(study, storage=storage, local=True)
    assert rest.sql("select status from cells")["status"].to_pylist() == ["succeeded"]
    assert not rest.table("failures").num_rows
