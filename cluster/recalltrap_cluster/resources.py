"""Resource planning as a pure function: how many trials at once, and what can never run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recalltrap.errors import InputError
from recalltrap.resources import Resources

DRIVER_REQUEST = {"CPU": 0.0, "memory": 1.0}
"""What a trial asks for that only drives workers: Tune refuses a request for nothing at all."""


@dataclass(frozen=True)
class Placement:
    """What Tune is asked for: `per_trial` in Ray's names, `concurrent` trials at once.

    A trial that drives `workers` asks for next to nothing itself. They ask for theirs later, so
    it's up to `concurrent` that they find it.
    """

    per_trial: Mapping[str, float]
    concurrent: int
    workers: int = 0


def place_trials(
    nodes: Sequence[Mapping[str, float]], wanted: Resources, trials: int, grouped: bool = False
) -> Placement:
    """Fit a study's trials onto a cluster's nodes.

    Args:
        nodes: each node's resources, e.g. `{"CPU": 8, "GPU": 1}`. A process stands on one node.
        wanted: what one trial asks for, or one worker of it.
        trials: how many trials there are.
        grouped: whether a trial is executed by a group of workers, on one or several nodes.

    Raises:
        InputError: the nodes can never hold one trial; the message names the shortfall.
    """
    each = {"CPU": float(wanted.cpus_per_trial)}
    if wanted.gpus_per_trial:
        each["GPU"] = float(wanted.gpus_per_trial)
    slots = sum(count_fitting(node, each) for node in nodes)
    if slots == 0:
        raise InputError(_shortfall(nodes, each, "worker" if grouped else "trial"))
    if not grouped:
        return Placement(each, max(1, min(slots, trials)))
    if wanted.workers > 1 and 0 < wanted.gpus_per_trial < 1:
        raise InputError(
            f"resources.gpus_per_trial = {wanted.gpus_per_trial:g} with resources.workers = "
            f"{wanted.workers}: workers that train together need a whole GPU each (NCCL). "
            "Set resources.gpus_per_trial=1, or resources.workers=1"
        )
    if slots < wanted.workers:
        raise InputError(
            f"resources.workers = {wanted.workers}: {wanted.workers} workers of {_listed(each)} "
            f"each run at the same time, and the {len(nodes)} node(s) hold {slots} of them: "
            f"{wanted.workers - slots} too few, so they could never start. "
            f"Set resources.workers={slots} (the global batch stays the same), ask for less "
            "with resources.cpus_per_trial or resources.gpus_per_trial, or join a larger cluster"
        )
    groups = max(1, min(slots // wanted.workers, trials))
    return Placement(DRIVER_REQUEST, groups, wanted.workers)


def count_fitting(node: Mapping[str, float], each: Mapping[str, float]) -> int:
    """How many processes that ask for `each` fit into a node's resources at once."""
    return min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in each.items())


def _listed(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items())


def _shortfall(nodes: Sequence[Mapping[str, float]], each: Mapping[str, float], who: str) -> str:
    most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in each}
    return (
        f"a {who} asks for {_listed(each)} on one node, and the most that any of the {len(nodes)} "
        f"node(s) has is {_listed(most)}: it could never start. Lower resources.cpus_per_trial or "
        "resources.gpus_per_trial (-o resources.cpus_per_trial=1), or join a larger cluster"
    )


def schedulable(wanted: Resources, trials: int, grouped: bool = False) -> str:
    """Whether a study's trials fit on this machine, in words; Ray is not started."""
    here = {"CPU": float(os.cpu_count() or 1), "GPU": float(_gpus())}
    try:
        placement = place_trials([here], wanted, trials, grouped)
    except InputError as error:
        return f"no: {error}"
    group = f", {placement.workers} worker(s) each" if placement.workers else ""
    return f"yes, {placement.concurrent} at once{group}"


def _gpus() -> int:
    """This machine's NVIDIA GPUs, without importing a framework."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
