"""What a storage remembers of jobs."""

from __future__ import annotations

import pytest

from recalltrap.errors import InputError
from recalltrap.store.storage import Storage
from recalltrap_cluster.jobs.records import (
    JobRecord,
    all_records,
    find_record,
    is_job,
    record_path,
    write_record,
)

FIRST, SECOND = (
    JobRecord(f"mog-x-{day}", "mog/x", "studies/mog/x", "http://127.0.0.1:1", f"2026-01-0{day}")
    for day in (1, 2)
)


@pytest.fixture
def kept(storage: str) -> Storage:
    found = Storage(storage)
    for record in (SECOND, FIRST):
        write_record(found, record)
    return found


def test_a_job_is_found_by_its_id_and_the_last_by_its_study(kept: Storage) -> None:
    assert all_records(kept) == [FIRST, SECOND]
    assert find_record(kept, FIRST.id) == FIRST
    assert find_record(kept, "mog/x") == SECOND
    assert is_job(kept, FIRST.id)
    assert not is_job(kept, "mog/x")


@pytest.mark.parametrize("name", ["mog-x-9", "mog/y", "../marker", "", "a/../../b", "x\0y", "A"])
def test_others_are_refused_with_what_there_is(kept: Storage, name: str) -> None:
    assert not is_job(kept, name)
    with pytest.raises(InputError, match="knows no job"):
        find_record(kept, name)


def test_a_storage_without_jobs_says_so(storage: str) -> None:
    with pytest.raises(InputError, match="no job was ever sent with it"):
        find_record(Storage(storage), "mog/x")


@pytest.mark.parametrize("data", [b"", b"[]", b'{"id": "a"}', b"\xff", b'"x"'])
def test_a_damaged_record_is_named(kept: Storage, data: bytes) -> None:
    kept.write(record_path(FIRST.id), data)
    with pytest.raises(InputError, match=rf"{FIRST.id}\.json is damaged"):
        find_record(kept, FIRST.id)
