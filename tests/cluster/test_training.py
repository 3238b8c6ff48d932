"""The grouped toy kind on groups of workers: the numbers of one process, and its faults."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy_display import RecordingDisplay
from toy_processes import RAY_SERVERS, TUNE_FUNCTION, await_nobody, is_loopback, listening, start
from toy_trouble import plant

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap.resources import Resources
from recalltrap.results.results import Results
from recalltrap_cluster.training import passed_on, worker_environment, worker_scaling

StudyFile = Callable[..., str]


def write(study_file: StudyFile, trouble: Path, **fields: Any) -> str:
    """A study of one cell that two workers execute, where nothing else is said."""
    trouble.mkdir(exist_ok=True)
    return study_file(
        **{
            "kind": "toy_group", "orderings": ["K-A"], "seeds": 1, "grid": {"kl_weight": [0.5]},
            "settings": {"trouble": str(trouble)}, "resources": {"workers": 2}, **fields,
        }
    )  # fmt: skip


def begun(trouble: Path, stage: str) -> int:
    """How often a group began a stage."""
    lines = (trouble / "built.log").read_text().splitlines()
    return sum(line.startswith(f"{stage} ") for line in lines)


def numbers(results: Results) -> dict[float, Any]:
    query = "select * from metrics where kl_weight = ? order by all"
    weights = results.sql("select distinct kl_weight from metrics")["kl_weight"].to_pylist()
    return {weight: results.sql(query.replace("?", str(weight))) for weight in weights}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("local_ray")
class TestOnAGroup:
    @pytest.mark.parametrize("workers", [1, 2])
    def test_the_numbers_are_those_of_one_process(
        self, workers: int, study_file: StudyFile, storage: str, tmp_path: Path
    ) -> None:
        study = write(study_file, tmp_path / "trouble", resources={"workers": workers})
        shown = RecordingDisplay()
        results = rt.run(study, storage=storage, display=shown)
        assert begun(tmp_path / "trouble", "sft") == 1, "the first worker's line"
        here = rt.run(study, storage=str(tmp_path / "here"), local=True)
        for table in ("metrics", "curves"):
            assert results.table(table).num_rows > 0
            assert results.table(table).equals(here.table(table))
        assert results.sql("select status from cells")["status"].to_pylist() == ["succeeded"]
        assert shown.packs("finished") == ["K-A kl_weight=0.5"]
        (result,) = results.result_grid()
        rows = result.metrics_dataframe
        assert rows["stage"].iloc[0] == f"starting {workers} workers"
        assert result.metrics["done"] is True
        assert (result.metrics["stage"], result.metrics["step"]) == ("align", 10)
        assert result.metrics["reward_mean"] == rows["reward_mean"].iloc[-1]

    def test_a_killed_worker_and_one_that_raises(
        self, study_file: StudyFile, storage: str, tmp_path: Path
    ) -> None:
        """The first is restarted and goes on from its checkpoint, the second fails alone."""
        trouble = tmp_path / "trouble"
        study = write(study_file, trouble, grid={"kl_weight": [1.0, 2.0, 3.0]})
        killed = plant(trouble, "kill", "align/7", once=True, kl_weight=1.0, rank=1)
        plant(trouble, "raise", "align/7", kl_weight=2.0, rank=1)
        shown = RecordingDisplay()
        results = rt.run(study, storage=storage, display=shown)
        assert not killed.exists()
        rows = results.table("cells").to_pylist()
        assert {row["kl_weight"]: row["status"] for row in rows} == {
            1.0: "succeeded", 2.0: "failed", 3.0: "succeeded"
        }  # fmt: skip
        assert begun(trouble, "align") == 4, "only the killed one was tried again"
        assert begun(trouble, "sft") == 1
        (failure,) = results.table("failures").to_pylist()
        assert failure["failure"] == "user_code"
        assert failure["message"] == "RuntimeError: toy align/7 broke on purpose"
        assert "toy_group.py" in failure["log_tail"]
        assert shown.packs("failed") == ["K-A kl_weight=2.0"]
        here = rt.run(study, storage=str(tmp_path / "here"), local=True)
        assert set(numbers(results)) == {1.0, 3.0}
        assert all(table.equals(numbers(here)[w]) for w, table in numbers(results).items())

    def test_the_driver_of_a_group_is_killed(
        self, study_file: StudyFile, storage: str, tmp_path: Path
    ) -> None:
        """Its workers end, what they held is free again, and the trial goes on where it was."""
        trouble = tmp_path / "trouble"
        hold = plant(trouble, "wait", "align/7", rank=1)
        study = write(study_file, trouble)
        gone = threading.Event()

        def kill() -> None:
            while not (trouble / "waiting").exists():
                time.sleep(0.05)
            worker = psutil.Process(int((trouble / "waiting").read_text()))
            hold.unlink()
            raylet = psutil.Process(worker.ppid())
            (driver,) = (p for p in raylet.children() if TUNE_FUNCTION in p.name())
            driver.kill()
            worker.wait(timeout=30)
            gone.set()

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        results = rt.run(study, storage=storage)
        assert gone.wait(timeout=1)
        assert begun(trouble, "align") == 2
        assert results.sql("select status from cells")["status"].to_pylist() == ["succeeded"]
        assert results.table("failures").num_rows == 0

    def test_a_worker_that_dies_again_is_a_lost_worker(
        self, study_file: StudyFile, storage: str, tmp_path: Path
    ) -> None:
        trouble = tmp_path / "trouble"
        plant(trouble, "kill", "sft/3", rank=1)
        resources = {"workers": 2, "max_retries": 0}
        results = rt.run(write(study_file, trouble, resources=resources), storage=storage)
        (failure,) = results.table("failures").to_pylist()
        assert failure["failure"] == "worker_lost"
        assert "worker process died" in failure["message"]

    def test_more_workers_than_there_is_room_for_are_refused(
        self, study_file: StudyFile, storage: str, tmp_path: Path
    ) -> None:
        study = write(study_file, tmp_path / "trouble", resources={"workers": 3})
        with pytest.raises(InputError, match=r"resources\.workers = 3.*hold 2 of them: 1 too few"):
            rt.run(study, storage=storage)
        assert not Path(storage).exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds its processes in /proc")
def test_ctrl_c_ends_the_workers_too(study_file: StudyFile, storage: str, tmp_path: Path) -> None:
    trouble, mark = tmp_path / "trouble", uuid.uuid4().hex
    hold = plant(trouble, "wait", "align/7", rank=1)
    study = write(study_file, trouble)
    process = start(mark, "run", study, "--storage", storage)
    while not (trouble / "waiting").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    sockets = listening(mark)
    servers = {each.split()[-1] for each in sockets}
    assert servers > RAY_SERVERS, "and those that the workers meet at"
    assert not [each for each in sockets if not is_loopback(each)]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted; finished work is kept" in errors
    assert "Traceback" not in errors
    await_nobody(mark)
    stopped = rt.open_run("toy/test", storage)
    assert stopped.table("cells").num_rows == stopped.table("failures").num_rows == 0
    hold.unlink()
    assert rt.run(study, storage=storage, local=True).table("cells").num_rows == 1
    assert begun(trouble, "sft") == 1, "a stage that stood was kept"


def test_the_environment_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECALLTRAP_ARGV", '["recalltrap", "run"]')
    monkeypatch.delenv("RECALLTRAP_DEVICE", raising=False)
    environment = worker_environment(Resources(cpus_per_trial=3), passed_on())
    assert environment == {
        "RECALLTRAP_ARGV": '["recalltrap", "run"]',
        "OMP_NUM_THREADS": "3",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
    }
    monkeypatch.setenv("RECALLTRAP_DEVICE", "cuda")
    with_gpu = worker_environment(Resources(gpus_per_trial=1), passed_on())
    assert "CUDA_VISIBLE_DEVICES" not in with_gpu
    assert with_gpu["RECALLTRAP_DEVICE"] == "cuda"


def test_workers_stand_where_the_study_says() -> None:
    wanted = Resources(
        workers=3, cpus_per_trial=2, gpus_per_trial=1, accelerator_type="H100",
        custom={"license": 1}, labels={"market": "!spot"},
    )  # fmt: skip
    scaling = worker_scaling(wanted)
    assert (scaling.num_workers, scaling.use_gpu) == (3, True)
    assert scaling.resources_per_worker == {
        "CPU": 2, "GPU": 1, "accelerator_type:H100": 0.001, "license": 1
    }  # fmt: skip
    assert scaling.label_selector == {"market": "!spot"}
    assert worker_scaling(Resources()).label_selector is None
