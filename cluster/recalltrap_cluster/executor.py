"""The Tune executor: a plan's packs as trials of one Tune experiment."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recalltrap.errors import InputError
from recalltrap.registry import find_kind
from recalltrap.run.context import RunContext
from recalltrap.run.display import Display
from recalltrap.run.plan import Plan
from recalltrap.run.stage_packs import pack_resources
from recalltrap.store.provenance import ARGV_VARIABLE
from recalltrap.store.storage import Storage
from recalltrap_cluster.placement.admission import Admission
from recalltrap_cluster.placement.requests import DRIVER_REQUEST, Request, request_of
from recalltrap_cluster.schedulable.this_machine import place_here
from recalltrap_cluster.storage.filesystem import shared_filesystem
from recalltrap_cluster.storage.full_storage import noticing_full, refuse_full
from recalltrap_cluster.trackers import asked_trackers, tracker_callbacks

if TYPE_CHECKING:
    from ray.tune import ResultGrid

    from recalltrap_cluster.callback import DisplayCallback
    from recalltrap_cluster.searcher import PackSearcher


Run = Callable[[Plan, RunContext, Display], None]


@contextlib.contextmanager
def execute(address: str, plan: Plan) -> Iterator[Run]:
    """Join Ray, check that the plan can run there, and yield what runs it; leave Ray at the end.

    Raises:
        InputError: the address is refused, or a trial could never be scheduled.
    """
    if not plan.packs:
        yield lambda plan, context, display: None
        return
    _check_gpus_asked(plan)
    asked_trackers()
    from recalltrap_cluster.joining.session import has_session, ray_session

    if address == "local" and not has_session():
        place_here(plan)  # refused before the seconds that Ray takes to start
    with ray_session(address) as dashboard:
        from recalltrap_cluster.ray_internals import is_client
        from recalltrap_cluster.schedulable.joined_cluster import place_on_cluster

        place_on_cluster(plan)
        run: Run = _run
        if is_client():
            from recalltrap_cluster.ray_client import run_on_cluster

            run = functools.partial(run_on_cluster, run)
        yield functools.partial(_linked, run, dashboard)


def _linked(
    run: Run,
    dashboard: str | None,
    plan: Plan,
    context: RunContext,
    display: Display,
) -> None:
    if dashboard is not None:
        display.note(f"Ray's dashboard: {dashboard}")
    run(plan, context, display)


def _check_gpus_asked(plan: Plan) -> None:
    """Refuse RECALLTRAP_DEVICE=cuda for workers that ask for no GPU, and so shall see none."""
    wanted = os.environ.get("RECALLTRAP_DEVICE", "")
    if wanted.startswith("cuda") and _is_grouped(plan) and not plan.study.resources.uses_gpus:
        raise InputError(
            f"RECALLTRAP_DEVICE = {wanted!r}, but resources.gpus_per_trial = 0: workers get the "
            "GPUs that they ask for. Add -o resources.gpus_per_trial=1, or use --local"
        )


def _run(plan: Plan, context: RunContext, display: Display) -> None:
    """Run a plan's trials, and those that lacked memory again with fewer at once."""
    from recalltrap_cluster.faults.out_of_memory import with_more_memory

    most: int | None = None
    while True:
        trials, at_once = _run_trials(plan, context, display, most)
        rest = with_more_memory(plan, context, trials, at_once)
        if rest is None:
            return
        plan, context, most = rest


def _run_trials(
    plan: Plan, context: RunContext, display: Display, most: int | None
) -> tuple[list[str], int]:
    """Run a plan's trials, at most so many at once; their ids, and how many had room at once."""
    from ray import tune

    from recalltrap_cluster.callback import DisplayCallback
    from recalltrap_cluster.faults.lost_trials import record_lost, record_never_started
    from recalltrap_cluster.faults.pending import NothingStarts, PendingWatch
    from recalltrap_cluster.ray_internals import error_text, import_tensorboard
    from recalltrap_cluster.searcher import PackSearcher

    requests, stuck = _requests(plan), None
    watch = PendingWatch(plan.study.resources.pending_minutes)
    with _early_starts(plan, requests) as (early, marks), _admission(plan, requests) as admission:
        searcher = PackSearcher(plan.packs, admission, early, marks)
        callback = DisplayCallback(searcher, display)
        callbacks = [callback, watch, *tracker_callbacks(plan.study.name, display.note)]
        trainable = _trainable(plan, context, callback, marks)
        import_tensorboard()
        sized = tune.with_resources(trainable, _resources_of_trials(requests, _is_grouped(plan)))
        with shared_filesystem(context.storage) as filesystem, _quiet_tune(), noticing_full():
            try:
                _tune(plan, context, searcher, callbacks, sized, filesystem, most)
            except NothingStarts as error:
                stuck = error
    refuse_full(callback.full, watch.trials)
    for trial in watch.trials:
        text = error_text(trial)
        if text is not None and trial.trial_id not in callback.broken:
            # Those were recorded where they broke; these could say nothing any more.
            record_lost(context, searcher.trials[trial.trial_id], trial.trial_id, text)
    if stuck is not None:
        record_never_started(context, searcher.unfinished, str(stuck), display)
    elif searcher.unfinished:
        raise KeyboardInterrupt
    return list(searcher.trials), admission.most


def _tune(
    plan: Plan,
    context: RunContext,
    searcher: PackSearcher,
    callbacks: list[Any],
    trainable: Any,
    filesystem: Any,
    most: int | None,
) -> None:
    """Run the trials; the callbacks see how it goes.

    By `tune.run`: a `Tuner` goes on to unpickle the trials' errors from the storage.
    """
    from ray import tune

    from recalltrap_cluster.callback import NoReport

    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    tune.run(
        trainable,
        name=name,
        search_alg=searcher,
        num_samples=len(plan.packs),
        max_concurrent_trials=most,
        reuse_actors=True,
        trial_name_creator=lambda trial: trial.trial_id,
        trial_dirname_creator=lambda trial: trial.trial_id,
        callbacks=callbacks,
        max_failures=plan.study.resources.max_retries,
        raise_on_failed_trial=False,
        progress_reporter=NoReport(),
        verbose=0,
        storage_path=context.storage.path(f"{context.run}/tune"),
        storage_filesystem=filesystem,
    )


def _is_grouped(plan: Plan) -> bool:
    return find_kind(plan.study.kind).grouped


def _requests(plan: Plan) -> dict[str, Request]:
    """What each pack's processes ask for, by its id; equal ones are one object."""
    grouped, known = _is_grouped(plan), list[Request]()
    asked = {}
    for pack in plan.packs:
        request = request_of(pack_resources(pack, plan.study.resources), grouped=grouped)
        if request not in known:
            known.append(request)
        asked[pack.id] = known[known.index(request)]
    return asked


def _resources_of_trials(
    requests: Mapping[str, Request], grouped: bool
) -> Callable[[dict[str, Any]], Any]:
    """What Tune reserves for a trial, by its configuration.

    A trial that drives workers asks for next to nothing itself: they ask for theirs later, and
    `Admission` sees to it that they find it.
    """
    from ray.tune import PlacementGroupFactory

    def reserve(config: dict[str, Any]) -> PlacementGroupFactory:
        request = Request(DRIVER_REQUEST) if grouped else requests[config["pack"]]
        selector: dict[str, Any] = {}
        if request.labels:
            selector["bundle_label_selector"] = [dict(request.labels)]
        return PlacementGroupFactory([dict(request.each)], **selector)

    return reserve


@contextlib.contextmanager
def _admission(plan: Plan, requests: Mapping[str, Request]) -> Iterator[Admission]:
    """Who may start, on the nodes that the cluster has; an autoscaler is told what is wanted."""
    from recalltrap_cluster.ray_nodes import ask_autoscaler, has_autoscaler, live_nodes

    announce = ask_autoscaler if has_autoscaler() else None
    admission = Admission(requests, live_nodes, grouped=_is_grouped(plan), announce=announce)
    try:
        yield admission
    finally:
        admission.close()


@contextlib.contextmanager
def _early_starts(plan: Plan, requests: Mapping[str, Request]) -> Iterator[tuple[int, Path | None]]:
    """How many packs may start before their parents have ended, and where they see that they have.

    Only where Ray is this machine and has room now, and all packs ask for the same: a pack that
    waits must never keep the place that its parent needs. Then all workers start at once, not each
    when there is work for it.
    """
    from recalltrap_cluster.joining.session import starting_slots

    first = requests[plan.packs[0].id]
    alike = all(request is first for request in requests.values())
    slots = starting_slots(first.each) if alike and not _is_grouped(plan) else 0
    early = min(slots, len(plan.packs)) - 1
    if early < 1:
        yield 0, None
        return
    with tempfile.TemporaryDirectory(prefix="recalltrap-") as folder:
        yield early, Path(folder)


def _trainable(
    plan: Plan, context: RunContext, callback: DisplayCallback, marks: Path | None
) -> Any:
    """What a trial runs: a pack in its own process, or a group of workers that execute it."""
    from ray import tune

    packs = {pack.id: pack for pack in plan.packs}
    if not _is_grouped(plan):
        from recalltrap_cluster.trainable import PackTrainable

        argv = os.environ[ARGV_VARIABLE]
        return tune.with_parameters(
            PackTrainable, packs=packs, context=context, marks=marks, argv=argv
        )
    from recalltrap_cluster import training
    from recalltrap_cluster.mailbox import free_placement, open_mailbox

    mailbox = open_mailbox()
    callback.on_lost = functools.partial(free_placement, mailbox)
    return tune.with_parameters(
        training.train_pack,
        packs=packs,
        context=context,
        wanted=plan.study.resources,
        mailbox=mailbox,
        environment=training.passed_on(),
    )


@contextlib.contextmanager
def _quiet_tune() -> Iterator[None]:
    """Tune's own output is replaced by ours: what fails is shown and kept in `failures`."""
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)


def result_grid(storage: Storage, run: str) -> ResultGrid:
    """Tune's results of the last launch of a run. Nothing in its folder is unpickled.

    Raises:
        InputError: no launch went through Tune, or its files aren't plain JSON.
    """
    from recalltrap_cluster.ray_internals import recorded_grid
    from recalltrap_cluster.trial_files import launches, read_trials

    for folder in launches(storage, run):
        if trials := read_trials(storage, folder):
            return recorded_grid(storage.path(folder), storage.filesystem, trials)
    raise InputError(f"{storage.display(run)} has no trials of Ray Tune (was it run with --local?)")
