"""Under Ray's client (`ray://`) Tune runs on the cluster, in a task of its own.

There it would work on copies of what a client gives it: a searcher and a callback that know
nothing of one another. So all of it is made on the cluster, and word of the progress comes back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import ray

from recalltrap.errors import RecalltrapError
from recalltrap.run.context import RunContext
from recalltrap.run.display import Display
from recalltrap.run.plan import Pack, Plan
from recalltrap.store.provenance import ARGV_VARIABLE
from recalltrap.supervision.lifeline import KEPT
from recalltrap_cluster.ray_internals import HEAD_RESOURCES, SESSION_ENVIRONMENT
from recalltrap_cluster.trackers import TRACKERS_VARIABLE

Event = tuple[str, str, Any]
"""Which method of the display, the pack's id, the rest."""
POLL_SECONDS = 0.5
STOP_SECONDS = 6.0
"""How long a cancelled Tune may take to stop its trials; the supervisor waits for ten."""
LOST = (ray.exceptions.RayError, ConnectionError)
"""The task's process or node died, or the client found no server any more."""
PASSED_ON = (ARGV_VARIABLE, "RECALLTRAP_DEVICE", TRACKERS_VARIABLE, *SESSION_ENVIRONMENT)


class Events:
    """What happened and wasn't fetched yet; a Ray actor."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def post(self, event: Event) -> None:
        self.events.append(event)

    def take(self) -> list[Event]:
        taken, self.events = self.events, []
        return taken


class RemoteDisplay:
    """A display whose watcher sits at the client."""

    def __init__(self, events: Any) -> None:
        self.events = events

    def begin(self, plan: Plan) -> None:
        """The client's display knows."""

    def note(self, line: str) -> None:
        """The client has said it."""

    def progress(self, pack: Pack, row: dict[str, Any]) -> None:
        plain = {name: value for name, value in row.items() if isinstance(value, int | float | str)}
        self.events.post.remote(("progress", pack.id, plain))

    def finished(self, pack: Pack) -> None:
        self.events.post.remote(("finished", pack.id, None))

    def failed(self, pack: Pack, message: str) -> None:
        self.events.post.remote(("failed", pack.id, message))

    def end(self) -> None:
        """The client's display knows."""


Run = Callable[[Plan, RunContext, Display], None]


def run_on_cluster(run: Run, plan: Plan, context: RunContext, display: Display) -> None:
    """Call `run` on the cluster's head, and show here what it shows there."""
    events: Any = ray.remote(num_cpus=0)(Events).remote()
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    drive = ray.remote(
        num_cpus=0, max_retries=0, resources=HEAD_RESOURCES, runtime_env={"env_vars": environment}
    )(_drive)
    task = drive.remote(run, plan, context, events)
    packs = {pack.id: pack for pack in plan.packs}
    try:
        while not ray.wait([task], timeout=POLL_SECONDS)[0]:
            _show(display, packs, ray.get(events.take.remote()))
        ray.get(task)
    except KeyboardInterrupt:
        ray.cancel(task)
        ray.wait([task], timeout=STOP_SECONDS)
        raise
    except ray.exceptions.TaskCancelledError:
        raise KeyboardInterrupt from None
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RecalltrapError):
            raise error.cause from None  # without the traceback that Ray adds
        raise
    except LOST as error:
        raise RecalltrapError(
            f"what drives the run on the head is lost: {_brief(error)}; {KEPT}"
        ) from None
    finally:
        with contextlib.suppress(*LOST):  # then nothing more is known
            _show(display, packs, ray.get(events.take.remote()))


def _brief(error: Exception) -> str:
    """The first sentence of what Ray says, which goes on with where its logs are."""
    return str(error).partition("\n")[0].partition(". ")[0].rstrip(".")


def _drive(run: Run, plan: Plan, context: RunContext, events: Any) -> None:
    run(plan, context, RemoteDisplay(events))
    ray.get(events.post.remote(("end", "", None)))  # and so everything before it


def _show(display: Display, packs: dict[str, Pack], events: list[Event]) -> None:
    for what, pack, rest in events:
        if what == "progress":
            display.progress(packs[pack], rest)
        elif what == "finished":
            display.finished(packs[pack])
        elif what == "failed":
            display.failed(packs[pack], rest)
