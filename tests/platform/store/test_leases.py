"""Leases in an object store: the protocol in every order of its steps, then over S3 with processes
that compete, are killed, and sleep through their expiry."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from object_store import ObjectStore, serve

from recalltrap.store import leases
from recalltrap.store.build_locks import build_lock
from recalltrap.store.leases import FOLDER, Bid, lease, next_move
from recalltrap.store.storage import Storage

WANTED = [
    ({"a"}, {"a"}, {"a"}),
    ({"a", "b"}, {"b", "c"}, {"c", "a"}),
    ({"a"}, {"a", "b"}, {"b"}),
    ({"a", "b"}, {"a", "b"}, {"c"}),
]
OUT, STANDS, HOLDS, LEAVES, DONE = range(5)
"""A rival has no bid; has one, and lists next; holds; takes its bid back; has held."""
State = tuple[int, ...]


def steps(state: State, bids: tuple[Bid, ...]) -> Iterator[State]:
    """Every state that one further step of one rival leads to."""
    for place, phase in enumerate(state):
        if phase == STANDS:
            others = [b for b, p in zip(bids, state, strict=True) if p in (STANDS, HOLDS, LEAVES)]
            after = {"hold": HOLDS, "keep": STANDS, "withdraw": LEAVES}
            phase = after[next_move(bids[place], others)]
        else:
            phase = {OUT: STANDS, HOLDS: DONE, LEAVES: OUT, DONE: DONE}[phase]
        yield (*state[:place], phase, *state[place + 1 :])


def reachable(start: State, bids: tuple[Bid, ...]) -> set[State]:
    found, new = {start}, [start]
    while new:
        for state in steps(new.pop(), bids):
            if state not in found:
                found.add(state)
                new.append(state)
    return found


@pytest.mark.parametrize("wanted", WANTED)
def test_in_no_order_of_steps_do_two_hold_the_same_or_none_get_on(
    wanted: tuple[set[str], ...],
) -> None:
    for draws in itertools.permutations("xyz"):
        bids = tuple(Bid(d, "m", 1, 1, frozenset(w)) for d, w in zip(draws, wanted, strict=True))
        seen = reachable((OUT,) * 3, bids)
        assert len(seen) > 30
        for state in seen:
            holding = [bid for bid, at in zip(bids, state, strict=True) if at == HOLDS]
            for one, other in itertools.combinations(holding, 2):
                assert not one.wanted & other.wanted, state
            assert (DONE,) * 3 in reachable(state, bids), f"{state} is a dead end"


def test_of_living_rivals_the_smallest_stays() -> None:
    bids = [Bid(draw, "m", 1, 1, frozenset("a")) for draw in "xyz"]
    assert [next_move(bid, bids) for bid in bids] == ["keep", "withdraw", "withdraw"]
    assert next_move(bids[0], [bids[0], Bid("a", "m", 1, 1, frozenset("b"))]) == "hold"


def test_a_bid_is_its_file_name() -> None:
    bid = Bid("0123456789ab", "abcdefg", 4194304, 10**9, frozenset(f"{n:07x}" for n in range(24)))
    assert Bid.read(bid.file) == bid
    assert len(bid.file) <= 255
    for other in ("", "README", ".recalltrap", "a-b-c-d-e", "x-y-1-2"):
        assert Bid.read(other) is None


# Over S3

HOLD = """
import sys
from recalltrap.store import leases
from recalltrap.store.storage import Storage
leases.BEAT_SECONDS, leases.EXPIRY_SECONDS = 0.3, 3.0
if sys.argv[2]:
    leases._machine = lambda: sys.argv[2]
with leases.lease(Storage(sys.argv[1]), sys.argv[3:], 30) as held:
    print(held, flush=True)
    sys.stdin.read()
"""
COMPETE = """
import fcntl, random, sys
from recalltrap.store import leases
from recalltrap.store.storage import Storage
leases.LOOK_SECONDS = 0.01
storage, held_once, draw = Storage(sys.argv[1]), 0, random.Random(sys.argv[3])
for _ in range(400):
    names = draw.sample(["a", "b", "c"], 2)
    with leases.lease(storage, names, 0.3) as held:
        if held:
            files = [open(f"{sys.argv[2]}/{name}", "w") for name in names]
            for file in files:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where another has it
            held_once += 1
            for file in files:
                file.close()
    if held_once == 10:
        break
print(held_once)
"""

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with serve() as started:
        yield started


@pytest.fixture
def root(store: ObjectStore, request: pytest.FixtureRequest) -> Storage:
    storage = Storage(store.location(request.node.name))
    storage.prepare()
    return storage


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def holder(root: Storage, machine: str, *names: str) -> subprocess.Popen[str]:
    """Another process that holds names until its input is closed, on this machine or another."""
    process = start(HOLD, root.location, machine, *names)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


@pytest.mark.slow
def test_a_lease_keeps_others_out_of_what_it_holds_and_leaves_nothing(root: Storage) -> None:
    process = holder(root, "", "b", "c")
    with build_lock(root, ["a", "b"], 0.0) as held:
        assert not held
    with build_lock(root, ["a"], 0.0) as held:
        assert held
        assert len(root.list(FOLDER)) == 2
    process.communicate()
    with pytest.raises(RuntimeError), lease(root, ["b", "c"], 0.0):
        raise RuntimeError
    assert root.list(FOLDER) == []


@pytest.mark.slow
def test_an_owner_killed_on_this_machine_is_known_at_once(root: Storage) -> None:
    process = holder(root, "", "a")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(root.list(FOLDER)) == 1
    with lease(root, ["a"], 0.0) as held:
        assert held
    assert root.list(FOLDER) == []


@pytest.mark.slow
def test_an_owner_killed_elsewhere_expires_and_a_living_one_does_not(
    root: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "EXPIRY_SECONDS", 3.0)
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.3)
    killed, living = holder(root, "another", "a"), holder(root, "another", "b")
    killed.kill()
    killed.wait()
    began, tries = time.monotonic(), 0
    while True:
        tries += 1
        with lease(root, ["a"], 0.0) as held:
            if held:
                break
        time.sleep(0.1)
    assert time.monotonic() - began > 1.0
    assert tries > 1
    while time.monotonic() - began < 6.0:  # twice its expiry
        with lease(root, ["b"], 0.0) as held:
            assert not held
        time.sleep(0.2)
    living.communicate()
    assert root.list(FOLDER) == []


@pytest.mark.slow
def test_one_that_slept_through_its_expiry_is_succeeded_and_ends_in_peace(
    root: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "EXPIRY_SECONDS", 3.0)
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.3)
    process = holder(root, "another", "a")
    process.send_signal(signal.SIGSTOP)
    with lease(root, ["a"], 30.0) as held:
        assert held
        process.send_signal(signal.SIGCONT)
        process.communicate()
        assert process.returncode == 0
    assert root.list(FOLDER) == []


@pytest.mark.slow
def test_two_processes_never_hold_the_same(root: Storage, tmp_path: Path) -> None:
    """Locks of the operating system are the witness: taking one that is held raises."""
    processes = [start(COMPETE, root.location, str(tmp_path), name) for name in ("x", "y")]
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert (process.returncode, output) == (0, "10\n")
    assert root.list(FOLDER) == []


def test_a_process_is_known_by_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have got a dead one's number."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    own: Any = leases._make_bid(["a"])
    assert own.process == os.getpid()
    assert not leases._has_died_here(own)
    assert leases._has_died_here(Bid("d", own.machine, own.process, own.start + 1, own.wanted))
    assert not leases._has_died_here(Bid("d", "another", own.process, own.start + 1, own.wanted))
