"""The room's door: sending a job, and what the submitting machine asks and tells it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recalltrap.defaults import storage_location
from recalltrap.errors import InputError
from recalltrap.results.results import Results
from recalltrap.run.display import ProgressTable
from recalltrap.store.storage import Storage
from recalltrap_cluster.jobs.client import Jobs, JobState
from recalltrap_cluster.jobs.records import JobRecord, all_records, find_record, is_job
from recalltrap_cluster.jobs.submission import submit
from recalltrap_cluster.jobs.watching import JobTable, Lines

__all__ = ["Job", "dashboard_link", "find_job", "jobs_of", "last_job", "run_of_job", "submit"]
COUNTS = ("planned", "succeeded", "failed", "missing")
Say = Callable[[str], None]


class Job:
    """A job that was sent, and the cluster that has it."""

    def __init__(self, record: JobRecord, storage: Storage, address: str | None = None) -> None:
        """Connect; another address than the job was sent to is where the same head is now.

        Raises:
            InputError: the address is refused, or nothing answers there.
        """
        self.record = record
        self.storage = storage
        self._jobs = Jobs(address or record.address)

    @property
    def dashboard(self) -> str:
        """The job's page on Ray's dashboard."""
        return dashboard_link(self._jobs.address, self.record.id)

    def state(self) -> JobState:
        """How the job is.

        Raises:
            InputError: the cluster doesn't know it.
        """
        found = self._jobs.state(self.record.id)
        if found is None:
            raise InputError(
                f"the cluster at {self._jobs.address} knows no job {self.record.id}: it was "
                "started anew since. What the job finished stands in the storage; submit the "
                "study again for the rest"
            )
        return found

    def row(self, state: JobState) -> dict[str, Any]:
        """The job as a row of a table: its `state()`, and the cells of its run."""
        return {
            "job": self.record.id,
            "study": self.record.study,
            "state": state.state.lower(),
            "started": state.started_at,
            "ended": state.ended_at,
            **self._counts(),
        }

    def _counts(self) -> dict[str, int | None]:
        """The cells of the run; nothing before it has begun."""
        if not self.storage.exists(f"{self.record.run}/study.yaml"):
            return dict.fromkeys(COUNTS)
        last = Results(self.storage, self.record.run).status().iloc[-1]
        return {name: int(last[name]) for name in COUNTS}

    def logs(self) -> str:
        """All that the job has said so far."""
        self.state()
        return self._jobs.logs(self.record.id)

    def stop(self) -> bool:
        """End the job; whether there was anything to end."""
        return self.state().active and self._jobs.stop(self.record.id)

    def follow_log(self, say: Say) -> int:
        """Pass the job's log on, line by line, until it ends; its exit status."""
        return self._follow(say)

    def follow(self, table: ProgressTable, say: Say) -> int:
        """Show the job's progress until it ends; its exit status."""
        shown = JobTable(table, say)
        try:
            return self._follow(shown.line)
        finally:
            shown.close()

    def _follow(self, each: Say) -> int:
        self.state()
        lines = Lines(each)
        self._jobs.follow(self.record.id, lines.feed)
        lines.end()
        return exit_status(self.state())


def exit_status(state: JobState) -> int:
    """What a command that waited for a job ends with: what the job's own did."""
    if state.state == "SUCCEEDED":
        return 0
    return state.exit_code if state.exit_code and state.exit_code > 0 else 1


def dashboard_link(address: str, job: str) -> str:
    """A job's page on Ray's dashboard."""
    return f"{address}/#/jobs/{job}"


def find_job(name: str, location: str | None, address: str | None = None) -> Job:
    """A job of the storage by its id, or the last one of a study.

    Raises:
        InputError: there is none, or its cluster can't be reached.
    """
    storage = Storage(storage_location(location))
    storage.check_usable()
    return Job(find_record(storage, name), storage, address)


def run_of_job(name: str, location: str | None) -> str | None:
    """The study's name where `name` is a job's id, else None."""
    storage = Storage(storage_location(location))
    return find_record(storage, name).study if is_job(storage, name) else None


def last_job(run: str, storage: Storage) -> str | None:
    """The id of the last job that was sent for a run."""
    sent = [record for record in all_records(storage) if record.run == run]
    return sent[-1].id if sent else None


def jobs_of(storage: Storage) -> list[tuple[str, str]]:
    """The ids of a storage's jobs, each with its study's name; the latest first."""
    return [(record.id, record.study) for record in reversed(all_records(storage))]
