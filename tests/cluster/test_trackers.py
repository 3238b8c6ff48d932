"""Trackers that are asked for by the environment, with their packages and without."""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import ray
from ray.tune import Callback

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap_cluster.callback import HOOKS, Tolerated
from recalltrap_cluster.trackers import TRACKERS_VARIABLE, asked_trackers, tracker_callbacks

MISSING = [name for name in ("mlflow", "wandb") if importlib.util.find_spec(name) is None]


def test_nobody_asks_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "", " , "):
        monkeypatch.delenv(TRACKERS_VARIABLE, raising=False)
        if value is not None:
            monkeypatch.setenv(TRACKERS_VARIABLE, value)
        assert tracker_callbacks("mog/x", print) == []


def test_a_stranger_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACKERS_VARIABLE, "wandbb")
    with pytest.raises(InputError, match="did you mean 'wandb'"):
        asked_trackers()


@pytest.mark.skipif(not MISSING, reason="all trackers are installed")
def test_what_is_not_installed_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, study_file: Callable[..., str], storage: str
) -> None:
    monkeypatch.setenv(TRACKERS_VARIABLE, MISSING[0])
    with pytest.raises(InputError, match=rf"pip install 'recalltrap\[{MISSING[0]}\]'"):
        rt.run(study_file(), storage=storage)
    assert not Path(storage).exists()


def test_each_is_rays_own_callback_with_the_studys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages: what Ray's callbacks are given."""
    given: dict[str, dict[str, Any]] = {}

    def callback(name: str) -> type[Callback]:
        class Given(Callback):
            def __init__(self, **options: Any) -> None:
                given[name] = options

        return Given

    for name, attribute in (("wandb", "WandbLoggerCallback"), ("mlflow", "MLflowLoggerCallback")):
        module: Any = ModuleType(name)
        setattr(module, attribute, callback(name))
        module.WANDB_ENV_VAR, module._WandbLoggingActor = "WANDB_API_KEY", object
        monkeypatch.setitem(sys.modules, f"ray.air.integrations.{name}", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv(TRACKERS_VARIABLE, "wandb, mlflow,wandb")
    made = tracker_callbacks("mog/x", pytest.fail)
    assert [callback.name for callback in made] == ["wandb", "mlflow"]
    assert given == {
        "wandb": {"project": "recalltrap", "group": "mog/x", "log_config": False},
        "mlflow": {"experiment_name": "mog/x"},
    }
    monkeypatch.setenv("WANDB_PROJECT_NAME", "mine")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ours")
    tracker_callbacks("mog/x", pytest.fail)
    assert given["wandb"]["project"] is None
    assert given["mlflow"]["experiment_name"] == "ours"


def test_rays_callbacks_take_these(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an upgrade of Ray may change; the packages themselves are not needed for it."""
    import inspect

    import ray.air.integrations.mlflow as mlflow
    import ray.air.integrations.wandb as wandb

    wanted = {"project", "group", "log_config"}
    assert wanted <= set(inspect.signature(wandb.WandbLoggerCallback.__init__).parameters)
    options = inspect.signature(mlflow.MLflowLoggerCallback.__init__).parameters
    assert "experiment_name" in options


def test_wandbs_key_is_no_part_of_an_environment_that_ray_writes_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever Ray's callback puts into a runtime environment stands in its logs."""
    import ray.air.integrations.wandb as wandb

    from recalltrap_cluster.ray_internals import wandb_callback

    made: list[Any] = []

    def started(**arguments: Any) -> Mock:
        made.append(arguments)
        return Mock()

    def remote(**options: Any) -> Any:
        def of(actor: Any) -> Any:
            made.append((actor, options))
            return SimpleNamespace(remote=started)

        return of

    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(wandb, "wandb", Mock())
    monkeypatch.setattr(wandb, "_force_on_current_node", dict)
    monkeypatch.setattr(wandb, "Queue", lambda **options: None)
    monkeypatch.setattr(ray, "remote", remote)
    callback = wandb_callback(project="recalltrap")
    callback._start_logging_actor(Mock(local_path="here"), [], name="trial")
    (actor, options), arguments = made
    assert "k" * 40 not in str(options)
    assert arguments["api_key"] == "k" * 40
    assert os.environ["WANDB_API_KEY"] == "k" * 40
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setattr(wandb._WandbLoggingActor, "__init__", lambda self, **kwargs: None)
    actor(api_key="k" * 40, logdir="here")
    assert os.environ.pop("WANDB_API_KEY") == "k" * 40


class Moody(Callback):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def setup(self, *args: Any, **info: Any) -> None:
        self.heard.append("setup")

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
    ) -> None:
        self.heard.append("result")
        raise ConnectionError("nobody is there\nlong story")


def test_one_that_fails_is_told_once_and_left_out() -> None:
    told: list[str] = []
    moody = Moody()
    callback: Any = Tolerated("mlflow", lambda: moody, told.append)
    callback.setup()
    for _ in range(3):
        callback.on_trial_result(1, [], None, {})
    assert moody.heard == ["setup", "result"]
    assert told == ["mlflow: nobody is there; the run goes on without it"]

    def refuse() -> Any:
        raise ValueError

    Tolerated("wandb", refuse, told.append)
    assert told[1:] == ["wandb: ValueError; the run goes on without it"]
    assert pickle.loads(pickle.dumps(callback)).callback is None


def test_all_that_tune_tells_is_passed_on() -> None:
    hooks = {name for name in vars(Callback) if name == "setup" or name.startswith("on_")}
    assert hooks == set(HOOKS)
