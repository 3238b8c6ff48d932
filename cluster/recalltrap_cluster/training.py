"""One pack on a group of workers: a function trainable of Tune that drives one Ray Train run.

Every worker executes the pack (`recalltrap.run.worker_group`); the first one writes. Tables and
artifacts go straight to the storage, and word of progress and failure through a mailbox, because
reports of Ray Train wait for all workers and its results hold no metrics without a checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import ray
from ray import train, tune

from recalltrap.errors import FailureClass, StageError
from recalltrap.kind import Progress
from recalltrap.resources import Resources
from recalltrap.run.context import RunContext
from recalltrap.run.execution import PackRun, record_failure
from recalltrap.run.failures import classify
from recalltrap.run.plan import Pack
from recalltrap.run.worker_group import WorkerGroup, joined
from recalltrap.store.provenance import ARGV_VARIABLE
from recalltrap_cluster.filesystem import shared_filesystem
from recalltrap_cluster.trainable import FAILED, REPORT_SECONDS

Reason = tuple[FailureClass, str, str]
"""A failure's class, message and log tail."""

TRAIN_ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how late an end or a death is seen
    # An actor and its imports less per group. Nobody here could use the warning: a worker of a
    # node that goes away is a lost worker.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
UNUSED_CALLBACKS = ("PlacementGroupCleanerCallback", "DatasetsCallback")
"""Each starts an actor, a second of a core per group. The first frees what a dead run holds, needs
Ray's dashboard to see that it is dead and never ends without one: see `free_place`. The second
serves Ray Data."""
PASSED_ON = (ARGV_VARIABLE, "RECALLTRAP_DEVICE", "RECALLTRAP_COMPILE")
TALK_TIMEOUT = timedelta(days=1)
"""How long workers wait for word of the first one: it may evaluate, or wait for another run."""
PEER_SECONDS = 20.0
"""How long a living worker may take to say that it is there."""


@dataclass
class Mailbox:
    """What the workers of every trial have said and not been asked for yet; a Ray actor."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, Reason] = field(default_factory=dict)
    places: dict[str, Any] = field(default_factory=dict)

    def begin(self, trial_id: str) -> None:
        """An attempt begins: what an earlier one said no longer counts."""
        self.rows.pop(trial_id, None)
        self.reasons.pop(trial_id, None)

    def report(self, trial_id: str, row: dict[str, Any]) -> None:
        """Progress; the latest counts."""
        self.rows[trial_id] = row

    def fail(self, trial_id: str, reason: Reason) -> None:
        """What broke; the first to say so is the one where it broke."""
        self.reasons.setdefault(trial_id, reason)

    def occupy(self, trial_id: str, place: Any) -> None:
        """The placement group that the trial's workers stand in."""
        self.places[trial_id] = place

    def take_row(self, trial_id: str) -> dict[str, Any] | None:
        return self.rows.pop(trial_id, None)

    def take_reason(self, trial_id: str) -> Reason | None:
        return self.reasons.pop(trial_id, None)

    def take_place(self, trial_id: str) -> Any:
        return self.places.pop(trial_id, None)


def open_mailbox() -> Any:
    """A mailbox for a run's trials, as an actor that takes no core."""
    return ray.remote(num_cpus=0)(Mailbox).remote()


def free_place(mailbox: Any, trial_id: str) -> None:
    """Give back what the workers of a lost trial held: Ray keeps it until the session ends."""
    place = ray.get(mailbox.take_place.remote(trial_id))
    if place is not None:
        ray.util.remove_placement_group(place)


@dataclass(frozen=True)
class GroupWork:
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
    resources: Resources,
    mailbox: Any,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """Execute a pack on a worker group; returns the last row of progress for Tune.

    `environment` is what `worker_environment` said where the run was started.

    Raises:
        StageError: the pack broke. It is recorded already, and trying again would break again.
        TrainingFailedError: a worker was lost; Tune tries again, and what stands is kept.
    """
    os.environ[ARGV_VARIABLE] = environment[ARGV_VARIABLE]
    for name, value in TRAIN_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    trial_id = tune.get_context().get_trial_id()
    work = GroupWork(packs[config["pack"]], context, trial_id, resources, mailbox)
    ray.get(mailbox.begin.remote(trial_id))
    tune.report({"stage": f"starting {resources.workers} workers", "step": 0, "steps": 0})
    with _passing_on(work) as last, shared_filesystem(context.storage) as filesystem:
        try:
            result = _trainer(work, environment, filesystem).fit()
        except Exception:
            reason = ray.get(mailbox.take_reason.remote(trial_id))
            if reason is None:
                raise
            error = StageError(*reason[:2])
        else:
            row: dict[str, Any] = result.return_value
            return row if row != last else {}  # nothing new for Tune
    record_failure(context, work.pack, reason, trial_id)
    tune.report({**last, FAILED: error.message})
    raise error


@contextlib.contextmanager
def _passing_on(work: GroupWork) -> Iterator[dict[str, Any]]:
    """Pass the workers' progress on to Tune meanwhile; yields the last row that was passed on."""
    over = threading.Event()
    last: dict[str, Any] = {"stage": "", "step": 0, "steps": 0}

    def pass_on() -> None:
        while not over.wait(REPORT_SECONDS):
            row = ray.get(work.mailbox.take_row.remote(work.trial_id))
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


def _trainer(work: GroupWork, environment: Mapping[str, str], filesystem: Any) -> Any:
    from ray.train.torch import TorchTrainer

    from recalltrap_cluster.torch_store import GroupConfig

    base: Any = TorchTrainer  # annotated as the trainer of Train's first version

    class PackTrainer(base):  # type: ignore[misc]
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [c for c in callbacks if type(c).__name__ not in UNUSED_CALLBACKS]

    resources = work.resources
    experiment = f"{work.context.run}/tune/{tune.get_context().get_experiment_name()}"
    per_worker = {"CPU": float(resources.cpus_per_trial), "GPU": float(resources.gpus_per_trial)}
    run_config: Any = train.RunConfig
    return PackTrainer(
        execute_pack,
        train_loop_config={"work": work},
        torch_config=GroupConfig(),
        scaling_config=train.ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus_per_trial > 0,
            resources_per_worker={name: amount for name, amount in per_worker.items() if amount},
        ),
        run_config=run_config(
            name=work.trial_id,
            storage_path=work.context.storage.path(experiment),
            storage_filesystem=filesystem,
            worker_runtime_env={"env_vars": dict(environment)},
        ),
    )


def worker_environment(resources: Resources) -> dict[str, str]:
    """The environment variables of every worker, set before it imports anything."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
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

    work: GroupWork = config["work"]
    place = get_context()
    rank, size = place.get_world_rank(), place.get_world_size()
    if rank == 0:
        here = ray.util.get_current_placement_group()
        work.mailbox.occupy.remote(work.trial_id, here)
    reporter = Reporter(work, rank)
    broadcast, gather = _talk(size)
    group = WorkerGroup(
        rank, size, broadcast, gather, reporter.report, work.resources, distributed=True
    )
    colleagues = gather(ray.get_runtime_context().current_actor)
    with joined(group):
        try:
            for progress in PackRun(work.pack, work.context, work.trial_id).steps():
                reporter.report(progress)
        except Exception as error:
            # A dead worker breaks the others' talk: its death counts then, not their errors.
            if all_alive(colleagues):
                ray.get(work.mailbox.fail.remote(work.trial_id, classify(error)))
            raise
    return reporter.last


@dataclass
class Reporter:
    """Posts the first worker's progress, one row in REPORT_SECONDS at most."""

    work: GroupWork
    rank: int
    last: dict[str, Any] = field(default_factory=dict)
    _due: float = 0.0

    def report(self, progress: Progress) -> None:
        row = {"stage": progress.stage, "step": progress.step, "steps": progress.steps}
        metrics = {name: float(value) for name, value in progress.metrics.items()}
        self.last = {**metrics, **row}
        if self.rank == 0 and time.monotonic() >= self._due:
            self._due = time.monotonic() + REPORT_SECONDS
            self.work.mailbox.report.remote(self.work.trial_id, self.last)


def all_alive(actors: Sequence[Any]) -> bool:
    """Whether all these actors are still there."""
    try:
        ray.get([actor.__ray_ready__.remote() for actor in actors], timeout=PEER_SECONDS)
    except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        return False
    return True


def _talk(size: int) -> tuple[Callable[[Any], Any], Callable[[Any], list[Any]]]:
    """How the workers say objects to one another: always over gloo, and patiently."""
    import torch.distributed as dist

    talkers = dist.new_group(backend="gloo", timeout=TALK_TIMEOUT)

    def broadcast(value: Any) -> Any:
        values = [value]
        dist.broadcast_object_list(values, src=0, group=talkers)
        return values[0]

    def gather(value: Any) -> list[Any]:
        values: list[Any] = [None] * size
        dist.all_gather_object(values, value, group=talkers)
        return values

    return broadcast, gather
