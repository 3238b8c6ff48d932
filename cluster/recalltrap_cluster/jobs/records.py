"""What the storage remembers of the jobs that were sent: where each runs, and which run it is.

The submitting machine writes a record before it sends the job, and the job looks for it: where it
isn't, the two don't see one storage.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from recalltrap.errors import InputError, nearest, shown
from recalltrap.store.storage import Storage

FOLDER = "jobs"
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,120}")


@dataclass(frozen=True)
class JobRecord:
    """A job that was sent; `run` is the run's folder in the storage."""

    id: str
    study: str
    run: str
    address: str
    submitted_at: str


def record_path(job: str) -> str:
    """Where a job's record stands in the storage."""
    return f"{FOLDER}/{job}.json"


def write_record(storage: Storage, record: JobRecord) -> None:
    """Write a record whole."""
    storage.write(record_path(record.id), json.dumps(asdict(record), indent=1).encode() + b"\n")


def all_records(storage: Storage) -> list[JobRecord]:
    """Every job of the storage, oldest first.

    Raises:
        InputError: a record is damaged.
    """
    names = [name for name in storage.list(FOLDER) if name.endswith(".json")]
    records = [_read(storage, f"{FOLDER}/{name}") for name in names]
    return sorted(records, key=lambda record: record.submitted_at)


def find_record(storage: Storage, name: str) -> JobRecord:
    """A job by its id, or the last one of a study by the study's name.

    Raises:
        InputError: there is none.
    """
    if _ID.fullmatch(name) and storage.exists(record_path(name)):
        return _read(storage, record_path(name))
    records = all_records(storage)
    if named := [record for record in records if record.study == name]:
        return named[-1]
    known = [*(record.id for record in records), *(record.study for record in records)]
    hint = nearest(name, known) if known else "no job was ever sent with it"
    raise InputError(
        f"the storage {storage.shown} knows no job {shown(name)}: {hint} "
        "(a job's id, or its study's name; --storage says which storage)"
    )


def is_job(storage: Storage, name: str) -> bool:
    """Whether a name is a job's id."""
    return bool(_ID.fullmatch(name)) and storage.exists(record_path(name))


def _read(storage: Storage, path: str) -> JobRecord:
    way_out = "remove it; the job itself is `ray job list`'s"
    found = storage.read_mapping(path, way_out)
    try:
        return JobRecord(**found)
    except TypeError as error:
        raise InputError(f"{storage.display(path)} is damaged ({error}): {way_out}") from None
