"""A simulated cluster that changes while a study runs: machines come, leave in peace, are lost."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from simulated_machines import ENVIRONMENT, simulated_machines
from toy_processes import await_nobody, processes_with, start
from toy_trouble import plant

import recalltrap as rt

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(600)]

StudyFile = Callable[..., str]
MIXTURE: dict[str, Any] = {
    "kind": "mog", "orderings": ["K-A"], "seeds": 2, "grid": {"kl_weight": [0.5, 1.0, 2.0]},
    "settings": {"student_components": 3, "iterations": 12000},
}  # fmt: skip
LANGUAGE: dict[str, Any] = {
    "kind": "llm", "orderings": ["K-A"], "seeds": 1, "grid": {"kl_weight": [0.5]},
    "settings": {
        "p_star": "nano-small", "p_prime": "nano-small", "corpus_sentences": 300,
        "p_star_epochs": 1, "training_samples": 200, "heldout_samples": 32, "p_prime_epochs": 1,
        "distill_epochs": 1, "target_epochs": 1, "iterations": 60, "oracle_samples": 64,
        "evaluation_samples": 64,
    },
    "resources": {"checkpoint_updates": 10},
}  # fmt: skip
GROUPS: dict[str, Any] = {
    "kind": "toy_group", "orderings": ["K-A"], "seeds": 1, "grid": {"kl_weight": [0.5, 2.0]},
}  # fmt: skip


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RECALLTRAP_DEVICE", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


class Launch:
    """`recalltrap run` on a cluster, and what its log says, as it comes."""

    def __init__(self, study: str, storage: str, address: str) -> None:
        self.mark = uuid.uuid4().hex
        self.process = start(
            self.mark, "run", study, "--storage", storage, "--address", address, "--log", "json"
        )
        self.events: list[dict[str, Any]] = []
        self.strange: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{"):
                self.events.append(json.loads(line))
            else:
                self.strange.append(line)

    def until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            assert self.process.poll() is None, (self.strange, self.events[-3:])
            time.sleep(0.05)

    def stages(self) -> list[str]:
        return [event.get("stage", "") for event in self.events]

    def end(self) -> None:
        assert self.process.wait(400) == 0, (self.strange, self.events[-3:])
        self.reader.join()
        assert not self.strange
        await_nobody(self.mark)


def check_rows(study: str, storage: str, other: str) -> None:
    """They are those of an undisturbed run in this process; nothing has failed."""
    there = rt.open_run("toy/test", storage)
    here = rt.run(study, storage=other, local=True)
    for table in ("metrics", "curves"):
        assert there.table(table).num_rows > 0
        assert there.table(table).equals(here.table(table)), table
    assert not there.table("failures").num_rows


def middle_of(stage: str, event: dict[str, Any]) -> bool:
    told = event["event"] == "progress" and event["stage"] == stage
    return bool(told and 0 < event["step"] < event["steps"])


@pytest.mark.parametrize(
    ("fields", "worker"),
    [(MIXTURE, "Trainable"), (LANGUAGE, "RayTrainWorker")],
    ids=["mixture", "language"],
)
def test_what_it_had_finished_stands_and_the_rest_is_done_by_the_others(
    fields: dict[str, Any], worker: str, environment: None, study_file: StudyFile, storage: str,
    tmp_path: Any,
) -> None:  # fmt: skip
    study = study_file(**fields)
    with simulated_machines(head_cores=0) as machines:
        both = [machines.join() for _ in range(2)]
        launch = Launch(study, storage, machines.address)
        launch.until(lambda: any(middle_of("align", event) for event in launch.events))
        machines.lose(next(machine for machine in both if machine.runs(worker)))
        launch.end()
    assert any("trying again" in stage for stage in launch.stages())
    check_rows(study, storage, str(tmp_path / "here"))


@pytest.mark.parametrize(
    ("fields", "worker"),
    [(MIXTURE, "Trainable"), (GROUPS, "RayTrainWorker")],
    ids=["mixture", "groups"],
)
def test_a_machine_that_comes_is_used_and_takes_nothing_with_it_when_it_leaves(
    fields: dict[str, Any], worker: str, environment: None, study_file: StudyFile, storage: str,
    tmp_path: Any,
) -> None:  # fmt: skip
    """One trial at once on the head's one core; two while the second machine is there."""
    trouble = tmp_path / "trouble"
    plant(trouble, "wait", "align/7")
    held = {} if fields is MIXTURE else {"settings": {"trouble": str(trouble)}}
    study = study_file(**fields, **held)
    with simulated_machines(head_cores=1) as machines:
        launch = Launch(study, storage, machines.address)
        launch.until(lambda: machines.head.runs(worker))
        joined = machines.join()
        launch.until(lambda: joined.runs(worker) and machines.head.runs(worker))
        machines.leave(joined)
        assert not processes_with(joined.mark)
        (trouble / "release").touch()
        launch.end()
    check_rows(study, storage, str(tmp_path / "here"))
