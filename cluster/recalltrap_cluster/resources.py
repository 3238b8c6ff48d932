"""Resource planning as a pure function: how many trials at once, and what can never run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recalltrap.errors import InputError
from recalltrap.study import Resources


@dataclass(frozen=True)
class ResourcePlan:
    """What Tune is asked for: `per_trial` in Ray's names, `concurrent` trials at once."""

    per_trial: Mapping[str, float]
    concurrent: int


def plan_resources(
    nodes: Sequence[Mapping[str, float]], wanted: Resources, trials: int
) -> ResourcePlan:
    """Fit a study's trials onto a cluster's nodes.

    Args:
        nodes: each node's resources, e.g. `{"CPU": 8, "GPU": 1}`. A trial runs on one node.
        wanted: what one trial asks for.
        trials: how many trials there are.

    Raises:
        InputError: no node can ever hold one trial; the message names the shortfall.
    """
    per_trial = {"CPU": float(wanted.cpus_per_trial)}
    if wanted.gpus_per_trial:
        per_trial["GPU"] = float(wanted.gpus_per_trial)
    slots = sum(
        min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in per_trial.items())
        for node in nodes
    )
    if slots == 0:
        raise InputError(_shortfall(nodes, per_trial))
    return ResourcePlan(per_trial, max(1, min(slots, trials)))


def _shortfall(nodes: Sequence[Mapping[str, float]], per_trial: Mapping[str, float]) -> str:
    asked = ", ".join(f"{amount:g} {name}" for name, amount in per_trial.items())
    most = ", ".join(
        f"{max((node.get(name, 0.0) for node in nodes), default=0.0):g} {name}"
        for name in per_trial
    )
    return (
        f"a trial asks for {asked} on one node, and the most that any of the {len(nodes)} node(s) "
        f"has is {most}: it could never start. Lower resources.cpus_per_trial or "
        "resources.gpus_per_trial (-o resources.cpus_per_trial=1), or join a larger cluster"
    )


def schedulable(wanted: Resources, trials: int) -> str:
    """Whether a study's trials fit on this machine, in words; Ray is not started."""
    here = {"CPU": float(os.cpu_count() or 1), "GPU": float(_gpus())}
    try:
        plan = plan_resources([here], wanted, trials)
    except InputError as error:
        return f"no: {error}"
    return f"yes, {plan.concurrent} at once"


def _gpus() -> int:
    """This machine's NVIDIA GPUs, without importing a framework."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
