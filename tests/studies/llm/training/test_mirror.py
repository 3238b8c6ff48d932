"""Checkpoints in a storage that is no folder: kept, fetched elsewhere, whole or not at all."""

from __future__ import annotations

import logging
import shutil
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recalltrap.graph import Node
from recalltrap.run.worker_group import ALONE
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.training import mirror
from recalltrap_studies.llm.training.checkpoints import CANDIDATES
from recalltrap_studies.llm.training.mirror import WHOLE, Mirror, mirror_of

NODE = Node("align", 0, {})
FILES = {"model.safetensors": b"weights", "global_step8/shard": b"moments"}


@pytest.fixture
def store() -> ArtifactStore:
    return ArtifactStore(Storage(f"fsspec+memory://mirror/{uuid.uuid4().hex}"))


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def read(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def on(machine: Path, store: ArtifactStore) -> Mirror:
    found = mirror_of(store, NODE, machine / "1-workers", ALONE)
    assert found is not None
    return found


def saved(here: Mirror, update: int, **candidates: bytes) -> None:
    """A trainer has saved a checkpoint, and weights that may be chosen before it."""
    write(here.scratch / f"checkpoint-{update}", FILES)
    write(here.scratch / CANDIDATES, {f"{name}/weights": v for name, v in candidates.items()})
    state: Any = SimpleNamespace(global_step=update)
    here.on_save(None, state, None)  # type: ignore[arg-type]


def test_a_folder_needs_no_mirror(tmp_path: Path) -> None:
    local = ArtifactStore(Storage(str(tmp_path)))
    assert mirror_of(local, NODE, tmp_path / "1-workers", ALONE) is None


def test_another_machine_gets_the_newest_with_its_candidates(
    store: ArtifactStore, tmp_path: Path
) -> None:
    first, second = on(tmp_path / "first", store), on(tmp_path / "second", store)
    saved(first, 8, one=b"1")
    shutil.rmtree(first.scratch / CANDIDATES / "one")  # it can't be chosen any more
    saved(first, 16, two=b"2")
    assert store.storage.list(first.place) == [CANDIDATES, "checkpoint-16"]
    write(second.scratch / "checkpoint-24", FILES)  # of another attempt, that nobody else has
    second.fetch()
    assert read(second.scratch / "checkpoint-16") == FILES
    assert read(second.scratch / CANDIDATES) == {"two/weights": b"2"}
    assert {path.name for path in second.scratch.iterdir()} == {CANDIDATES, "checkpoint-16"}
    second.clear()
    assert store.storage.list(f"scratch/{NODE.id}") == []


def test_what_was_not_copied_whole_is_not_fetched(store: ArtifactStore, tmp_path: Path) -> None:
    first, second = on(tmp_path / "first", store), on(tmp_path / "second", store)
    saved(first, 8)
    half = f"{first.place}/checkpoint-16"
    store.storage.write(f"{half}/model.safetensors", b"wei")
    second.fetch()
    assert read(second.scratch / "checkpoint-8") == FILES
    assert not (second.scratch / "checkpoint-16").exists()
    store.storage.write(f"{half}/{WHOLE}", b"{")  # nor what says so in half a sentence
    second.fetch()
    assert (second.scratch / "checkpoint-8").is_dir()


def test_a_copy_that_fails_is_logged_and_the_one_before_stays(
    store: ArtifactStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = on(tmp_path / "first", store), on(tmp_path / "second", store)
    saved(first, 8)

    def failing(*given: Any) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "recalltrap"):
        patched.setattr(mirror, "_copy", failing)
        saved(first, 16)
    assert "checkpoint-16 can't be copied to the storage: no room" in caplog.text
    second.fetch()
    assert [path.name for path in second.scratch.iterdir()] == ["checkpoint-8"]
