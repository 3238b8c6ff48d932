"""A run's tables behind a filesystem written in Python, which needs Python's lock to read."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import recalltrap as rt
from tests.conftest import StudyFile

SHARED = "fsspec+memory://views/runs"


@pytest.fixture
def shared() -> Generator[str]:
    """A storage in memory, as any that fsspec reaches."""
    yield SHARED
    fsspec.filesystem("memory").rm("/views", recursive=True)


def test_a_shared_run_holds_the_rows_of_a_local_one(
    study_file: StudyFile, storage: str, shared: str
) -> None:
    file = study_file()
    here, there = (rt.run(file, storage=where, local=True) for where in (storage, shared))
    assert Path(storage).is_dir()
    assert not Path("views").exists()
    rows = "select cell_id, metric, value from metrics order by all"
    assert there.sql(rows) == here.sql(rows)
    assert len(there.sql(rows)) > 0


def test_what_was_checked_is_what_queries_read(
    study_file: StudyFile, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB would open the files again with Python's lock held, and a thread that waits for it."""
    results = rt.run(study_file(), storage=shared, local=True)
    query = "select count(*) from metrics join cells using (cell_id), costs"
    first = results.sql(query)

    def no_more(_: Any, path: str, **__: Any) -> None:
        raise AssertionError(f"{path} is opened again")

    monkeypatch.setattr(MemoryFileSystem, "_open", no_more)
    assert results.sql(query) == first
