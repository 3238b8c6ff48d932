"""What the commands on jobs do. The cluster's room is reached late, through the registry."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from typing import Any

from recalltrap.cli.output import say
from recalltrap.registry import room
from recalltrap.results.results import Results
from recalltrap.run.display import ProgressTable


def submit_study(
    name: str, overrides: Sequence[str], location: str | None, address: str
) -> str | None:
    """Send a study and say how to go on; the job's id, None where nothing was to do."""
    sent = room("jobs").submit(name, overrides, location, address)
    if sent.record is None:
        say(f"nothing to do: every cell of {sent.study} is done")
        return None
    job: str = sent.record.id
    for note in sent.notes:
        say(f"note: {note}", error=True)
    say(f"job: {job}")
    say(f"dashboard: {room('jobs').dashboard_link(sent.record.address, job)}")
    where = f" --storage {shlex.quote(location)}" if location and "@" not in location else ""
    say(f"next: recalltrap status {job}{where}, or logs, stop, report")
    return job


def job_named(name: str, location: str | None, address: str | None) -> Any:
    """A job by its id, or the last one of a study."""
    return room("jobs").find_job(name, location, address)


def follow_job(name: str, location: str | None, address: str | None, *, log: bool) -> int:
    """Show a job's log, or its progress as a table, until it ends; its exit status."""
    job = job_named(name, location, address)
    try:
        if log:
            return int(job.follow_log(say))
        return int(job.follow(ProgressTable(), partial(say, error=True)))
    except KeyboardInterrupt:
        say(
            f"recalltrap: the job goes on; `recalltrap stop {job.record.id}` ends it, "
            f"`recalltrap status {job.record.id} --follow` shows it again",
            error=True,
        )
        return 130


def job_rows(name: str, location: str | None, address: str | None) -> list[dict[str, Any]]:
    """A job's state and its run's cells, with what there is to note on stderr."""
    job = job_named(name, location, address)
    state = job.state()
    if state.state == "FAILED":
        say(f"note: {state.message.strip().splitlines()[0]}", error=True)
    say(f"note: {job.dashboard}", error=True)
    return [job.row(state)]


def is_job(name: str, location: str | None) -> bool:
    """Whether a name is a job's id rather than a run's."""
    return room("jobs").run_of_job(name, location) is not None


def run_of(name: str, location: str | None) -> str:
    """A run's name as it is; of a job's id, its study's."""
    return str(room("jobs").run_of_job(name, location) or name)


def job_notes(results: Results) -> list[str]:
    """Whether the run was sent as a job, and how to ask for it."""
    job = room("jobs").last_job(results.run, results.storage)
    return [] if job is None else [f"`recalltrap status {job}` asks the cluster for the last job"]
