"""What this project knows of Ray beyond its documentation: a test each, for whoever upgrades Ray.

A failure here says what changed and what breaks by it, before a run does.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.air.constants
import ray.exceptions
from ray._private import ray_constants, services
from ray.tune import ExperimentAnalysis, TuneError
from ray.tune.experiment import Trial
from ray.tune.experimental.output import get_air_verbosity

from recalltrap_cluster import ray_internals
from recalltrap_cluster.failure_reasons import failure_reason
from recalltrap_cluster.joining.session import WIDGETS_LOGGER
from recalltrap_cluster.ray_internals import TrialRecord

VARIABLES = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "ray.train.v2._internal.constants",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "ray.train.v2._internal.constants",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "ray.train.v2._internal.constants",
    "RAY_TRAIN_METRICS_ENABLED": "ray.train.v2._internal.constants",
    "RAY_AIR_NEW_OUTPUT": "ray.tune.experimental.output",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "ray._private.accelerators.accelerator",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "ray._private.ray_constants",
    "RAY_JOB_STOP_WAIT_TIME_S": "ray.dashboard.modules.job.job_supervisor",
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "ray.util.client.server.proxier",
}
"""Where Ray reads each variable that is set for it."""


EndedTrial = Callable[..., Any]


@pytest.fixture
def ended_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EndedTrial:
    """Makes a trial of Tune's own that ended so, and failed before with these errors."""
    storages: Any = importlib.import_module("ray.train._internal.storage")
    monkeypatch.setattr(storages, "_get_ray_train_session_dir", lambda: str(tmp_path / "session"))

    def make(*errors: str, status: str = Trial.ERROR) -> Any:
        storage = storages.StorageContext(str(tmp_path), "launch", trial_dir_name="a")
        trial: Any = Trial("pack", stub=True, trial_id="a", storage=storage, max_failures=3)
        Path(trial.local_path).mkdir(parents=True)
        Path(trial.path).mkdir(parents=True, exist_ok=True)
        for error in errors:
            trial.handle_error(TuneError(error))
        trial.set_status(status)
        return trial

    return make


class TestEnvironment:
    @pytest.mark.parametrize(
        "variables",
        ["SESSION_ENVIRONMENT", "TRAIN_ENVIRONMENT", "LOOPBACK_ENVIRONMENT",
         "CLIENT_SERVER_ENVIRONMENT"],
    )  # fmt: skip
    def test_ray_still_reads_the_variables(self, variables: str) -> None:
        for name in getattr(ray_internals, variables):
            if name.startswith("RAY_"):
                source = inspect.getsource(importlib.import_module(VARIABLES[name]))
                assert f'"{name}"' in source, (
                    f"{VARIABLES[name]} no longer reads {name}, which {variables} sets: find its "
                    "successor, or take it out there"
                )

    def test_tune_keeps_quiet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "1")
        assert get_air_verbosity(0) is not None
        name = "RAY_AIR_NEW_OUTPUT"
        monkeypatch.setenv(name, ray_internals.SESSION_ENVIRONMENT[name])
        assert get_air_verbosity(0) is None, (
            "RAY_AIR_NEW_OUTPUT=0 no longer turns Tune's own output off: runs print its banner"
        )

    def test_the_advice_to_install_widgets_has_a_logger_of_its_own(self) -> None:
        widgets = importlib.import_module("ray.widgets.util")
        assert widgets.logger.name == WIDGETS_LOGGER, (
            "a notebook without ipywidgets shows Ray's advice to install them above our progress"
        )

    def test_what_the_user_has_set_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_TRAIN_METRICS_ENABLED", "1")
        monkeypatch.delenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", raising=False)
        monkeypatch.setattr(os, "environ", dict(os.environ))
        ray_internals.set_environment(ray_internals.TRAIN_ENVIRONMENT)
        assert os.environ["RAY_TRAIN_METRICS_ENABLED"] == "1"
        assert os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] == "0"


class TestSession:
    def test_a_local_ray_takes_the_loopback_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ray._private.worker, "_global_node", None)  # another test's session
        before = ray_constants.ENABLE_RAY_CLUSTER
        with ray_internals.loopback_only():
            address = services.get_node_ip_address()  # type: ignore[no-untyped-call]
            assert address == "127.0.0.1", (
                "Ray's ENABLE_RAY_CLUSTER no longer decides its node's address: session.py would "
                "start a Ray that listens on all interfaces"
            )
        assert ray_constants.ENABLE_RAY_CLUSTER is before

    def test_the_loopback_variable_is_that_constants(self) -> None:
        assert set(ray_internals.LOOPBACK_ENVIRONMENT) == {
            ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
        }, "Ray renamed the variable behind ENABLE_RAY_CLUSTER: cluster/README.md names it, too"

    def test_a_process_that_joined_nothing_is_no_client(self) -> None:
        assert ray_internals.is_client() is False

    @pytest.mark.ray
    @pytest.mark.usefixtures("local_ray")
    def test_an_actor_says_that_it_is_ready_until_it_is_dead(self) -> None:
        actor: Any = ray.remote(num_cpus=0)(dict).remote()
        ray.get(ray_internals.say_ready(actor), timeout=30)
        ray.kill(actor)  # which takes effect a little later

        def ask_on() -> None:
            for _ in range(300):
                ray.get(ray_internals.say_ready(actor), timeout=30)
                time.sleep(0.1)

        with pytest.raises(ray.exceptions.RayActorError):
            ask_on()


class TestTrials:
    def test_a_trial_is_not_tried_again(self, ended_trial: EndedTrial) -> None:
        trial = ended_trial("broke")
        assert trial.should_recover()
        ray_internals.never_retry(trial)
        assert not trial.should_recover(), (
            "Trial.max_failures no longer limits a running trial's attempts: a pack whose error "
            "is recorded would run again (callback.py)"
        )

    def test_the_last_attempts_error_is_found(self, ended_trial: EndedTrial) -> None:
        trial = ended_trial("first", "second,\non two lines")
        written = Path(trial.local_path, ray_internals.ERROR_FILE).read_text()
        assert ray_internals.last_attempt(written) == "second,\non two lines", (
            f"error.txt looks otherwise than failure_reasons.py expects: {written!r}"
        )
        Path(trial.path, ray_internals.ERROR_FILE).write_text(written)  # as Tune's upload does
        assert ray_internals.error_text(trial) == written
        trial.set_status(Trial.TERMINATED)
        assert ray_internals.error_text(trial) is None

    def test_a_trial_without_an_error_file_has_an_empty_text(self, ended_trial: EndedTrial) -> None:
        assert ray_internals.error_text(ended_trial()) == ""

    @pytest.mark.slow
    def test_tensorboards_writer_is_imported_without_torch(self) -> None:
        code = (
            "import sys; from recalltrap_cluster.ray_internals import import_tensorboard as load\n"
            "load(); print(sorted({'torch', 'tensorboardX'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "['tensorboardX']", (
            "Tune or tensorboardX imports torch by itself: every run of a mixture study waits 3 s"
        )


class TestWorkerGroups:
    @pytest.fixture
    def callbacks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
        """The classes of the callbacks that a trainer is started with: Ray's own, and ours."""
        from ray import train
        from ray.train.torch import TorchTrainer

        for name, value in ray_internals.TRAIN_ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(ray, "put", lambda value: value)
        started: dict[str, list[str]] = {}

        def names(trainer_class: Any) -> list[str]:
            trainer = trainer_class(
                print,
                scaling_config=train.ScalingConfig(num_workers=1),
                run_config=train.RunConfig(name="a", storage_path=str(tmp_path)),
            )

            def start(**arguments: Any) -> Any:
                started["now"] = [type(each).__name__ for each in arguments["callbacks"]]
                return SimpleNamespace(error=None)

            trainer._initialize_and_run_controller = start
            trainer.fit()
            return started["now"]

        return {"ray": names(TorchTrainer), "lean": names(ray_internals.lean_trainer())}

    def test_the_callbacks_that_only_cost_time_are_left_out(
        self, callbacks: dict[str, list[str]]
    ) -> None:
        unused = set(ray_internals.UNUSED_CALLBACKS)
        assert unused <= set(callbacks["ray"]), (
            "Ray Train starts others than these: look for the new name in "
            f"DataParallelTrainer._create_default_callbacks, or take it out ({callbacks['ray']})"
        )
        assert callbacks["lean"] == [name for name in callbacks["ray"] if name not in unused], (
            "fit() doesn't ask _create_default_callbacks any more: a group costs two actors more"
        )

    def test_the_callbacks_that_a_group_needs_are_kept(
        self, callbacks: dict[str, list[str]]
    ) -> None:
        needed = {"AcceleratorSetupCallback", "BackendSetupCallback"}
        assert needed <= set(callbacks["lean"]), "no torch.distributed, or no CUDA_VISIBLE_DEVICES"

    def test_trains_metrics_are_off(self, callbacks: dict[str, list[str]]) -> None:
        assert not [name for name in callbacks["ray"] if "Metrics" in name], (
            "RAY_TRAIN_METRICS_ENABLED=0 leaves some on"
        )


class TestTexts:
    """Ray keeps a trial's error as text alone: what it says of lost workers must be recognised."""

    @pytest.mark.parametrize(
        "error",
        [
            ray.exceptions.ActorDiedError(),
            ray.exceptions.ActorUnavailableError("the connection broke", None),
            ray.exceptions.WorkerCrashedError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_a_lost_worker(self, error: Exception) -> None:
        assert ray_internals.WORKER_LOST.search(str(error)), (
            f"{type(error).__name__} now says {str(error)!r}: a killed worker would be recorded as "
            "user_code"
        )
        assert failure_reason(str(error))[0] == "worker_lost"

    def test_a_group_that_never_started(self) -> None:
        exceptions = importlib.import_module("ray.train.v2._internal.exceptions")
        worker_group = importlib.import_module(
            "ray.train.v2._internal.execution.worker_group.worker_group"
        )
        pattern = ray_internals.NOT_SCHEDULED
        said = str(exceptions.WorkerGroupStartupTimeoutError(2))
        assert pattern.search(said), f"a group without room would be recorded as user_code: {said}"
        assert pattern.search(exceptions.WorkerGroupStartupFailedError.__name__)
        assert "Insufficient cluster resources" in inspect.getsource(worker_group)

    def test_out_of_memory_by_name(self) -> None:
        assert ray.exceptions.OutOfMemoryError.__name__ == "OutOfMemoryError", (
            "errors.is_out_of_memory knows it by this name"
        )


class TestFiles:
    def test_a_trials_files_have_these_names(self) -> None:
        constants = ray.air.constants
        tune = (constants.EXPR_PARAM_FILE, constants.EXPR_RESULT_FILE, constants.EXPR_ERROR_FILE)
        ours = (ray_internals.CONFIG_FILE, ray_internals.RESULTS_FILE, ray_internals.ERROR_FILE)
        assert ours == tune, (
            "trial_files.py reads files that Tune no longer writes: result_grid() would be empty"
        )

    def test_the_experiments_state_is_read(self, ended_trial: EndedTrial) -> None:
        controller = importlib.import_module("ray.tune.execution.tune_controller")
        template = controller.TuneController.CKPT_FILE_TMPL
        assert template.startswith(ray_internals.STATE_PREFIX), template
        assert '"trial_data": list(self._get_trial_checkpoints()' in inspect.getsource(controller)
        trial = ended_trial(status=Trial.TERMINATED)
        state = json.dumps({"trial_data": [trial.get_json_state()]}).encode()
        assert ray_internals.trial_statuses(state) == {"a": Trial.TERMINATED}, (
            "an experiment's state looks otherwise: trials that were retried would show as failed"
        )

    @pytest.mark.parametrize(
        "state", [b"", b"[]", b'{"trial_data": [["nonsense", ""]]}', b"[" * 100_000, b"\x80\x04"]
    )
    def test_a_state_that_is_none_says_nothing(self, state: bytes) -> None:
        assert ray_internals.trial_statuses(state) == {}


class TestRecordedTrials:
    def test_tune_asks_the_records_and_opens_no_file(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        from pyarrow import fs

        for name in ("_load_trials", "_fetch_trial_dataframe"):
            assert hasattr(ExperimentAnalysis, name), (
                f"ExperimentAnalysis.{name} has another name: Tune's own reader would unpickle "
                "what stands in a run's folder"
            )
        rows = [{"reward_mean": 1.0, "training_iteration": 1}, {"reward_mean": 2.0}]
        records = [
            TrialRecord("a", "folder/a", {"x": 1}, Trial.TERMINATED, rows),
            TrialRecord("b", "folder/b", {"x": 2}, Trial.ERROR, (), "it broke"),
        ]
        with caplog.at_level(logging.WARNING):
            place = str(tmp_path / "nowhere")
            grid: Any = ray_internals.recorded_grid(place, fs.LocalFileSystem(), records)
        assert not caplog.records, "Tune failed to read the records"
        assert [result.path for result in grid] == ["folder/a", "folder/b"]
        assert grid[0].metrics["reward_mean"] == 2.0
        assert list(grid[0].metrics_dataframe["reward_mean"]) == [1.0, 2.0]
        assert [str(error) for error in grid.errors] == ["it broke"]

    @pytest.mark.parametrize(
        ("done", "error", "status"),
        [(True, None, Trial.TERMINATED), (True, "first", Trial.TERMINATED),
         (False, None, Trial.PENDING), (False, "last", Trial.ERROR)],
    )  # fmt: skip
    def test_without_a_state_results_and_errors_say_how_a_trial_ended(
        self, done: bool, error: str | None, status: str
    ) -> None:
        record = ray_internals.make_record("a", "", {}, None, [{"done": done}], error)
        assert record.status == status

    def test_a_trial_that_ended_is_done(self) -> None:
        """Tune learns it of a function after its last result was written."""
        rows = [{"step": 1, "done": False}, {"step": 2, "done": False}]
        record = ray_internals.make_record("a", "", {}, Trial.TERMINATED, rows, None)
        assert [row["done"] for row in record.rows] == [False, True]
        assert rows[-1]["done"] is False, "the caller's rows stay as they were"


def test_the_jobs_client_asks_the_address_that_it_is_given_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray's own follows RAY_ADDRESS and waits without end: a job would go elsewhere, or nowhere."""
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(Exception, match="timed out"):
            ray_internals.job_client(address, 0.2)
        assert time.monotonic() - began < 10
        connected, _ = deaf.accept()
        connected.close()
    assert os.environ["RAY_ADDRESS"] == "http://127.0.0.1:1"
    assert "RAY_API_SERVER_ADDRESS" not in os.environ


def test_ray_knows_a_wheel_by_its_name_alone(tmp_path: Path) -> None:
    """So a wheel's version holds its content's hash."""
    packaging = importlib.import_module("ray._private.runtime_env.packaging")
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(b"1")
    assert packaging.get_uri_for_package(wheel) == f"gcs://{wheel.name}"


def test_the_loggers_of_the_jobs_api_are_called_so() -> None:
    importlib.import_module("ray.job_submission")
    assert set(ray_internals.TALKING_LOGGERS) <= set(logging.Logger.manager.loggerDict)


def test_the_clients_loggers_are_called_so() -> None:
    for name in ("dataclient", "worker"):
        module = importlib.import_module(f"ray.util.client.{name}")
        assert module.logger.name == f"{ray_internals.CLIENT_LOGGERS[0]}.{name}"
    logs = importlib.import_module("ray.util.client.logsclient")
    assert logs.logger.name == ray_internals.CLIENT_LOGGERS[1], (
        "a run whose head is lost shows how Ray's client tries to reach it"
    )


def test_tune_adds_no_other_field_to_a_result() -> None:
    assert {"training_iteration", "timestamp", "node_ip", "config"} <= ray_internals.BOOKKEEPING
    assert not {"stage", "step", "steps"} & ray_internals.BOOKKEEPING
