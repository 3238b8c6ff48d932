from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from recalltrap.errors import InputError, StorageFullError
from recalltrap.store.storage import FORMAT, MARKER, Storage


@pytest.fixture
def root(tmp_path: Path) -> Storage:
    storage = Storage(str(tmp_path / "runs"))
    storage.prepare()
    return storage


def test_a_new_folder_becomes_a_storage(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "a" / "b"))
    assert not storage.check_exists()
    assert not storage.check_usable()
    assert not (tmp_path / "a").exists()
    storage.prepare()
    assert storage.check_exists()
    assert json.loads((tmp_path / "a/b" / MARKER).read_text()) == {"format": FORMAT}
    storage.prepare()


@pytest.mark.parametrize(
    "name", ["with blank", "ünïcode", "per%20cent", "hash#mark", "what?", "a+b"]
)
def test_any_folder_name_will_do(name: str, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / name))
    storage.prepare()
    storage.write("a/b", b"x")
    assert (tmp_path / name / "a/b").read_bytes() == storage.read("a/b") == b"x"
    assert storage.list("a") == ["b"]


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"it holds thesis\.tex but no .*--storage"):
        Storage(str(tmp_path)).prepare()
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("below", ["", "/deeper"])
def test_a_file_in_the_way_is_refused(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(InputError, match="file"):
        Storage(f"{tmp_path}/file{below}").prepare()
    assert (tmp_path / "file").read_text() == "precious"


def test_a_newer_format_is_refused(root: Storage) -> None:
    root.write(MARKER, json.dumps({"format": FORMAT + 1}).encode())
    with pytest.raises(InputError, match=f"has format {FORMAT + 1}.*Upgrade recalltrap"):
        root.check_exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "x"}', b'{"form": 1}', b"\xff"])
def test_a_damaged_marker_is_refused(root: Storage, content: bytes) -> None:
    root.write(MARKER, content)
    with pytest.raises(InputError, match="damaged"):
        root.check_exists()


@pytest.mark.parametrize("location", ["nonesuch://bucket/x", "s3:///", "://"])
def test_an_unknown_scheme_is_refused(location: str) -> None:
    with pytest.raises(InputError, match="can't be opened"):
        Storage(location).check_exists()


def test_a_storage_travels_by_its_location(root: Storage) -> None:
    root.write("x", b"1")
    assert pickle.loads(pickle.dumps(root)).read("x") == b"1"


def test_a_relative_location_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("here")
    monkeypatch.chdir("/")
    storage.prepare()
    assert (tmp_path / "here" / MARKER).is_file()


def test_writing_leaves_the_file_and_nothing_else(root: Storage) -> None:
    root.write("a/b/c.bin", b"old")
    root.write("a/b/c.bin", b"new")
    assert root.read("a/b/c.bin") == b"new"
    assert os.listdir(root.path("a/b")) == ["c.bin"]


def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_scraps(
    root: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.write("a/c.bin", b"old")

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        root.write("a/c.bin", b"new")
    assert root.read("a/c.bin") == b"old"
    assert os.listdir(root.path("a")) == ["c.bin"]


def test_what_a_killed_process_was_writing_is_no_file_and_can_be_cleared(root: Storage) -> None:
    root.write("a/c.json", b"whole")
    for folder in ("a", "."):
        Path(root.path(folder), f".c.json.{'0' * 32}.tmp").write_bytes(b"ha")
    assert root.list("a") == ["c.json"]
    assert root.check_usable()
    Path(root.path("a"), ".hidden.tmp").touch()  # not ours
    root.clear_temporaries("a")
    assert sorted(os.listdir(root.path("a"))) == [".hidden.tmp", "c.json"]
    root.clear_temporaries("nowhere")


def test_a_new_storage_whose_first_write_was_killed_is_no_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / f".{MARKER}.{'f' * 32}.tmp").write_bytes(b"{")
    Storage(tmp_path).prepare()
    assert Storage(tmp_path).check_exists()


def test_a_write_that_somebody_took_for_a_leftover_is_written_again(
    root: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[str] = []

    def lose_the_first(source: str, target: str, move: Any = os.replace) -> None:
        moves.append(source)
        if len(moves) == 1:
            root.clear_temporaries("a")
        move(source, target)

    monkeypatch.setattr(os, "replace", lose_the_first)
    root.write("a/c.bin", b"new")
    assert root.read("a/c.bin") == b"new"
    assert len(moves) == 2
    assert os.listdir(root.path("a")) == ["c.bin"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_storage_is_an_error_of_its_own_and_is_not_asked_again(
    number: int, root: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def full(source: str, target: str) -> None:
        tries.append(target)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageFullError, match=r"a/c\.bin.*full.*Make room.*finished work is kept"):
        root.write("a/c.bin", b"new")
    assert len(tries) == 1


def test_where_writing_is_forbidden_the_way_out_is_named() -> None:
    with pytest.raises(InputError, match=r"can't be written.*--storage"):
        Storage("/proc/recalltrap").prepare()


def test_listing_what_is_not_there_is_empty(root: Storage) -> None:
    assert root.list("nothing/here") == root.folders("nothing/here") == []
    assert not root.exists("nothing")
    assert not root.exists("")  # a folder is not a file
    with pytest.raises(FileNotFoundError):
        root.read("nothing")


def test_folders_are_listed_without_the_files_beside_them(root: Storage) -> None:
    for path in ("a/b/c", "a/d/c", "a/e"):
        root.write(path, b"x")
    assert root.list("a") == ["b", "d", "e"]
    assert root.folders("a") == ["b", "d"]
