"""Experiment trackers beside TensorBoard: Ray's own callbacks for W&B and MLflow, where asked for.

The environment asks, for where a run is watched is no part of a study. Projects, addresses and keys
are the trackers' own variables (WANDB_API_KEY, WANDB_PROJECT_NAME, MLFLOW_TRACKING_URI, ...).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from recalltrap.errors import InputError, nearest

TRACKERS_VARIABLE = "RECALLTRAP_TRACKERS"
DEFAULT_PROJECT = "recalltrap"


def asked_trackers() -> list[str]:
    """The trackers that the environment names, each once; none by default.

    Raises:
        InputError: an unknown one, or one whose package isn't installed.
    """
    names = [name.strip() for name in os.environ.get(TRACKERS_VARIABLE, "").split(",")]
    asked = list(dict.fromkeys(filter(None, names)))
    for name in asked:
        if name not in _CALLBACKS:
            raise InputError(f"{TRACKERS_VARIABLE} = {name!r}: {nearest(name, _CALLBACKS)}")
        if importlib.util.find_spec(name) is None:
            raise InputError(
                f"{TRACKERS_VARIABLE} = {name!r}, but the package {name} is not installed here: "
                f"`pip install 'recalltrap[{name}]'` or `pip install {name}`"
            )
    return asked


def tracker_callbacks(study: str, tell: Callable[[str], None]) -> list[Any]:
    """Ray's callbacks of the trackers that are asked for; trials of a study stand together.

    Raises:
        InputError: see `asked_trackers`.
    """
    from recalltrap_cluster.callback import Tolerated

    return [Tolerated(name, partial(_CALLBACKS[name], study), tell) for name in asked_trackers()]


def _wandb(study: str) -> Any:
    from recalltrap_cluster.ray_internals import wandb_callback

    project = None if os.environ.get("WANDB_PROJECT_NAME") else DEFAULT_PROJECT
    return wandb_callback(project=project, group=study, log_config=False)


def _mlflow(study: str) -> Any:
    callback = importlib.import_module("ray.air.integrations.mlflow").MLflowLoggerCallback
    return callback(experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME") or study)


_CALLBACKS: dict[str, Callable[[str], Any]] = {"mlflow": _mlflow, "wandb": _wandb}
