"""Build locks in a folder: by the operating system, which frees them when a process dies."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recalltrap.store.build_locks import build_lock, clear_locks
from recalltrap.store.storage import Storage

PIPES: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


@pytest.fixture
def root(tmp_path: Path) -> Storage:
    storage = Storage(str(tmp_path / "runs"))
    storage.prepare()
    return storage


HOLD = """
import sys
from recalltrap.store.build_locks import build_lock
from recalltrap.store.storage import Storage
with build_lock(Storage(sys.argv[1]), sys.argv[2:], 5) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


def holder(root: Storage, *names: str) -> subprocess.Popen[str]:
    """Another process that holds locks until its input is closed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, root.location, *names], **PIPES)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


@pytest.mark.slow
def test_locks_keep_other_processes_out_until_the_holder_is_gone(root: Storage) -> None:
    process = holder(root, "b", "c")
    with build_lock(root, ["a", "b"], 0.05) as held:
        assert not held
    with build_lock(root, ["a"], 0.05) as held:
        assert held  # what was taken together was given back together
    process.send_signal(signal.SIGKILL)
    process.wait()
    with build_lock(root, ["a", "b", "c"], 5.0) as held:
        assert held


@pytest.mark.slow
def test_locks_end_with_their_block(root: Storage) -> None:
    with pytest.raises(RuntimeError), build_lock(root, ["a"], 0.05):
        raise RuntimeError
    process = holder(root, "a")
    process.communicate()
    assert process.returncode == 0


def test_a_lock_leaves_no_file_whatever_became_of_the_work(root: Storage) -> None:
    with build_lock(root, ["a", "b"], 0.05) as held:
        assert held
        assert root.list("locks") == ["a", "b"]
    assert root.list("locks") == []
    with pytest.raises(RuntimeError), build_lock(root, ["a"], 0.05):
        raise RuntimeError
    assert root.list("locks") == []


def test_nothing_to_hold_is_had_at_once(root: Storage) -> None:
    with build_lock(root, [], 0.0) as held:
        assert held
    assert not Path(root.path("locks")).exists()


@pytest.mark.slow
def test_a_lock_whose_file_is_gone_keeps_others_out_no_longer(root: Storage) -> None:
    """Who waited for the file that was removed must not hold it beside one who made a new one."""
    process = holder(root, "a")
    waiting = subprocess.Popen([sys.executable, "-c", HOLD, root.location, "a"], **PIPES)
    process.communicate()
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "True\n"
    with build_lock(root, ["a"], 0.05) as held:
        assert not held
    waiting.communicate()


@pytest.mark.slow
def test_what_killed_processes_left_is_cleared_and_what_is_held_stays(root: Storage) -> None:
    killed, living = holder(root, "a", "b"), holder(root, "c")
    killed.kill()
    killed.wait()
    assert root.list("locks") == ["a", "b", "c"]
    clear_locks(root)
    assert root.list("locks") == ["c"]
    with build_lock(root, ["c"], 0.05) as held:
        assert not held
    living.communicate()
    assert root.list("locks") == []


def test_many_locks_at_once(root: Storage) -> None:
    """A setting with thousands of seeds: more locks than a process may open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with build_lock(root, [f"seed-{index}" for index in range(3000)], 1.0) as held:
            assert held
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
