from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recalltrap.errors import InputError
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


def test_where_writing_is_forbidden_the_way_out_is_named() -> None:
    with pytest.raises(InputError, match=r"can't be written.*--storage"):
        Storage("/proc/recalltrap").prepare()


def test_listing_what_is_not_there_is_empty(root: Storage) -> None:
    assert root.list("nothing/here") == []
    assert not root.exists("nothing")
    assert not root.exists("")  # a folder is not a file
    with pytest.raises(FileNotFoundError):
        root.read("nothing")


# Locks

HOLD = """
import sys
from recalltrap.store.storage import Storage
with Storage(sys.argv[1]).lock(sys.argv[2:], 5) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


def holder(root: Storage, *names: str) -> subprocess.Popen[str]:
    """Another process that holds locks until its input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, root.location, *names],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


@pytest.mark.slow
def test_locks_keep_other_processes_out_until_the_holder_is_gone(root: Storage) -> None:
    process = holder(root, "b", "c")
    with root.lock(["a", "b"], 0.05) as held:
        assert not held
    with root.lock(["a"], 0.05) as held:
        assert held  # what was taken together was given back together
    process.send_signal(signal.SIGKILL)
    process.wait()
    with root.lock(["a", "b", "c"], 5.0) as held:
        assert held


@pytest.mark.slow
def test_locks_end_with_their_block(root: Storage) -> None:
    with pytest.raises(RuntimeError), root.lock(["a"], 0.05):
        raise RuntimeError
    process = holder(root, "a")
    process.communicate()
    assert process.returncode == 0


def test_a_lock_can_be_removed_while_it_is_held(root: Storage) -> None:
    with root.lock(["a"], 0.05) as held:
        assert held
        root.unlink_lock("a")
        root.unlink_lock("a")
    assert root.list("locks") == []


def test_many_locks_at_once(root: Storage) -> None:
    """A setting with thousands of seeds: more locks than a process may open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with root.lock([f"seed-{index}" for index in range(3000)], 1.0) as held:
            assert held
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
