"""One pack on a group of workers: a function trainable of Tune that drives one Ray Train run.

Every worker executes the pack (`recalltrap.run.worker_group`); the first one writes. Tables and
artifacts go straight to the storage, and word of progress and failure through a mailbox
(`recalltrap_cluster.mailbox`).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
from ray import train, tune

from recalltrap.errors import StageError, StorageFullError, is_storage_full, storage_full
from recalltrap.resources import Resources
from recalltrap.run.context import RunContext
from recalltrap.run.execution import PackRun
from recalltrap.run.failures import classify
from recalltrap.run.plan import Pack
from recalltrap.run.stage_packs import pack_resources
from recalltrap.run.worker_group import WorkerGroup, joined
from recalltrap.store.provenance import ARGV_VARIABLE
from recalltrap_cluster.mailbox import Reporter
from recalltrap_cluster.placement.requests import request_of
from recalltrap_cluster.ray_internals import (
    TRAIN_ENVIRONMENT,
    lean_trainer,
    say_ready,
    set_environment,
    start_failures,
)
from recalltrap_cluster.storage.filesystem import shared_filesystem
from recalltrap_cluster.storage.full_storage import recorded
from recalltrap_cluster.trainable import FAILED, FULL, REPORT_SECONDS

PASSED_ON = (ARGV_VARIABLE, "RECALLTRAP_DEVICE", "RECALLTRAP_COMPILE")
COLLECTIVE_TIMEOUT = timedelta(days=1)
"""How long workers wait for word of the first one: it may evaluate, or wait for another run."""
READY_SECONDS = 20.0
"""How long a living worker may take to say that it is there."""


@dataclass(frozen=True)
class WorkerTask:
    """What the workers of one trial are told; small and picklable."""

    pack: Pack
    context: RunContext
    trial_id: str
    resources: Resources
    mailbox: Any


def train_pack(
    config: dict[str, Any],
    packs: dict[str, Pack],
    context: RunContext,
    wanted: Resources,
    mailbox: Any,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """Execute a pack on a worker group; returns the last row of progress for Tune.

    `wanted` is the study's; `environment` what `passed_on` said where the run was started.

    Raises:
        StageError: the pack broke. It is recorded already, and trying again would break again.
        TrainingFailedError: a worker was lost; Tune tries again, and what stands is kept.
    """
    os.environ[ARGV_VARIABLE] = environment[ARGV_VARIABLE]
    set_environment(TRAIN_ENVIRONMENT)
    trial_id = tune.get_context().get_trial_id()
    pack = packs[config["pack"]]
    resources = pack_resources(pack, wanted)
    task = WorkerTask(pack, context, trial_id, resources, mailbox)
    ray.get(mailbox.begin.remote(trial_id))
    tune.report({"stage": f"starting {resources.workers} workers", "step": 0, "steps": 0})
    with _passing_on(task) as last, shared_filesystem(context.storage) as filesystem:
        try:
            result = _trainer(task, worker_environment(resources, environment), filesystem).fit()
        except Exception as raised:
            reason = ray.get(mailbox.take_reason.remote(trial_id))
            said = reason[1] if reason else str(raised)
            if is_storage_full(said):
                raise _full(last, said) from None
            if reason is None:
                raise
            error = StageError(*reason[:2])
        else:
            row: dict[str, Any] = result.return_value
            return row if row != last else {}  # nothing new for Tune
    if (full := recorded(context, task.pack, reason, trial_id)) is not None:
        raise _full(last, full)
    tune.report({**last, FAILED: error.message})
    raise error


def _full(last: Mapping[str, Any], said: str) -> StorageFullError:
    """Tell Tune's callback that there is no room; the error that ends the trial."""
    full = storage_full(said)
    tune.report({**last, FULL: str(full)})
    return full


@contextlib.contextmanager
def _passing_on(task: WorkerTask) -> Iterator[dict[str, Any]]:
    """Pass the workers' progress on to Tune meanwhile; yields the last row that was passed on."""
    over = threading.Event()
    last: dict[str, Any] = {"stage": "", "step": 0, "steps": 0}

    def pass_on() -> None:
        while not over.wait(REPORT_SECONDS):
            row = ray.get(task.mailbox.take_row.remote(task.trial_id))
            if row is not None:
                last.clear()
                last.update(row)
                tune.report(row)

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield last
    finally:
        over.set()
        thread.join()


def _trainer(task: WorkerTask, environment: Mapping[str, str], filesystem: Any) -> Any:
    from recalltrap_cluster.torch_store import LoopbackTorchConfig

    resources = task.resources
    experiment = f"{task.context.run}/tune/{tune.get_context().get_experiment_name()}"
    run_config: Any = train.RunConfig
    return lean_trainer()(
        execute_pack,
        train_loop_config={"task": task},
        torch_config=LoopbackTorchConfig(),
        scaling_config=worker_scaling(resources),
        run_config=run_config(
            name=task.trial_id,
            failure_config=start_failures(resources.pending_minutes),
            storage_path=task.context.storage.path(experiment),
            storage_filesystem=filesystem,
            worker_runtime_env={"env_vars": dict(environment)},
        ),
    )


def worker_scaling(resources: Resources) -> Any:
    """Ray Train's own words for a group's workers, and for the nodes that they may stand on."""
    request = request_of(resources, grouped=True)
    scaling_config: Any = train.ScalingConfig
    return scaling_config(
        num_workers=request.count,
        use_gpu=resources.gpus_per_trial > 0,
        resources_per_worker=dict(request.each),
        label_selector=dict(request.labels) or None,
    )


def passed_on() -> dict[str, str]:
    """What of this process's environment is every worker's, too."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def worker_environment(resources: Resources, given: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of every worker, set before it imports anything."""
    environment = dict(given) | {
        "OMP_NUM_THREADS": str(resources.cpus_per_trial),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if not resources.gpus_per_trial:
        environment["CUDA_VISIBLE_DEVICES"] = ""  # who asked for no GPU must not find one
    return environment


def execute_pack(config: dict[str, Any]) -> dict[str, Any]:
    """One worker's part of a pack; returns the last row of its progress."""
    from ray.train import get_context

    task: WorkerTask = config["task"]
    train_context = get_context()
    rank, size = train_context.get_world_rank(), train_context.get_world_size()
    if rank == 0:
        placement = ray.util.get_current_placement_group()
        task.mailbox.hold_placement.remote(task.trial_id, placement)
    reporter = Reporter(task.mailbox, task.trial_id, rank)
    broadcast, gather = _collectives(size)
    group = WorkerGroup(
        rank, size, broadcast, gather, reporter.report, task.resources, distributed=True
    )
    workers = gather(ray.get_runtime_context().current_actor)
    with joined(group):
        try:
            for progress in PackRun(task.pack, task.context, task.trial_id).steps():
                reporter.report(progress)
        except Exception as error:
            # A dead worker breaks the others' collectives: its death counts then, not their errors.
            if all_alive(workers):
                ray.get(task.mailbox.fail.remote(task.trial_id, classify(error)))
            raise
    return reporter.last


def all_alive(actors: Sequence[Any]) -> bool:
    """Whether all these actors are still there."""
    try:
        ray.get([say_ready(actor) for actor in actors], timeout=READY_SECONDS)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return False
    return True


def _collectives(size: int) -> tuple[Callable[[Any], Any], Callable[[Any], list[Any]]]:
    """How the workers say objects to one another: always over gloo, and patiently."""
    import torch.distributed as dist

    over_gloo = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)

    def broadcast(value: Any) -> Any:
        values = [value]
        dist.broadcast_object_list(values, src=0, group=over_gloo)
        return values[0]

    def gather(value: Any) -> list[Any]:
        values: list[Any] = [None] * size
        dist.all_gather_object(values, value, group=over_gloo)
        return values

    return broadcast, gather
