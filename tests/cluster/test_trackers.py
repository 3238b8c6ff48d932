"""Trackers that are asked for by the environment, with their packages and without."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap_cluster.trackers import TRACKERS_VARIABLE, asked_trackers, tracker_callbacks

MISSING = [name for name in ("mlflow", "wandb") if importlib.util.find_spec(name) is None]


def test_nobody_asks_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "", " , "):
        monkeypatch.delenv(TRACKERS_VARIABLE, raising=False)
        if value is not None:
            monkeypatch.setenv(TRACKERS_VARIABLE, value)
        assert tracker_callbacks("mog/x") == []


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

    def callback(name: str) -> Callable[..., str]:
        def make(**options: Any) -> str:
            given[name] = options
            return name

        return make

    for name, attribute in (("wandb", "WandbLoggerCallback"), ("mlflow", "MLflowLoggerCallback")):
        module: Any = ModuleType(name)
        setattr(module, attribute, callback(name))
        monkeypatch.setitem(sys.modules, f"ray.air.integrations.{name}", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv(TRACKERS_VARIABLE, "wandb, mlflow,wandb")
    assert tracker_callbacks("mog/x") == ["wandb", "mlflow"]
    assert given == {
        "wandb": {"project": "recalltrap", "group": "mog/x", "log_config": False},
        "mlflow": {"experiment_name": "mog/x"},
    }
    monkeypatch.setenv("WANDB_PROJECT_NAME", "mine")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ours")
    tracker_callbacks("mog/x")
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
