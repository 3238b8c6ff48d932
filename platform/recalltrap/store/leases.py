"""Leases in an object store, which knows no locks and no conditional writes (not through Arrow).

A *bid* is a small file in `leases/` whose name says who wants what. Whoever wants to build

1. writes its bid, then lists all bids;
2. holds what it wants once such a list shows no other living bid for any of it;
3. takes its own bid back where a living rival has the smaller name, and otherwise keeps it and
   lists again.

Two never hold the same at once: each wrote before it listed, and lists show what was written
before (S3, GCS and Azure promise it), so that at least one of two rivals saw the other's bid, and
with that bid in sight it doesn't hold. Nobody waits for ever: of all living rivals the one with
the smallest name stays, and the others make room.

An owner writes its bid again every `BEAT_SECONDS`; one that wasn't for `EXPIRY_SECONDS` is dead,
and whoever sees it removes it. Both times are the store's own: a bid's age is counted from the
bid that was just written, whatever the clocks of the machines say. An owner that died on this
machine is known by its process, at once. One that only slept through its expiry works on beside
its successor: the work is done twice then, with equal results, and nothing else is lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pyarrow import fs

from recalltrap.errors import InputError
from recalltrap.store.storage import Storage

FOLDER = "leases"
BEAT_SECONDS = 10.0
EXPIRY_SECONDS = 45.0
LOOK_SECONDS = 0.5
"""Between two lists of somebody who waits."""
MOST_NAMES = 24
"""In one bid: HDFS takes file names of 255 characters."""
_NAME_LENGTH = 7

Move = Literal["hold", "keep", "withdraw"]


@dataclass(frozen=True)
class Bid:
    """A bid as its file's name tells it: `<draw>-<machine>-<process>-<start>-<name>.<name>...`."""

    draw: str
    machine: str
    process: int
    start: int
    wanted: frozenset[str]

    @property
    def file(self) -> str:
        owner = f"{self.draw}-{self.machine}-{self.process}-{self.start}"
        return f"{owner}-{'.'.join(sorted(self.wanted))}"

    @classmethod
    def read(cls, file: str) -> Bid | None:
        """The bid of a file; None where it is something else's."""
        parts = file.split("-")
        if len(parts) != 5 or not (parts[2].isdecimal() and parts[3].isdecimal()):
            return None
        draw, machine, process, start, wanted = parts
        return cls(draw, machine, int(process), int(start), frozenset(wanted.split(".")))


def next_move(own: Bid, living: Iterable[Bid]) -> Move:
    """What the owner of a bid does after a list that was made when its bid stood."""
    rivals = [bid for bid in living if bid.draw != own.draw and bid.wanted & own.wanted]
    if not rivals:
        return "hold"
    return "keep" if own.draw < min(bid.draw for bid in rivals) else "withdraw"


@contextlib.contextmanager
def lease(storage: Storage, names: Sequence[str], wait_seconds: float) -> Iterator[bool]:
    """Hold the names together, or none: yields whether they were had in time."""
    deadline = time.monotonic() + wait_seconds
    while True:
        with _standing(storage, _make_bid(names)) as bid:
            if _comes_to_hold(storage, bid, deadline):
                yield True
                return
        if time.monotonic() >= deadline:
            yield False
            return
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def _standing(storage: Storage, bid: Bid) -> Iterator[Bid]:
    """A bid that stands, and is kept alive, for the duration."""
    path = posixpath.join(FOLDER, bid.file)
    storage.write(path, b"")
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(storage, path, over), daemon=True)
    beating.start()
    try:
        yield bid
    finally:
        over.set()
        beating.join(EXPIRY_SECONDS)  # or what it is writing may come after the removal
        _remove(storage, path)


def _comes_to_hold(storage: Storage, bid: Bid, deadline: float) -> bool:
    """Whether a standing bid comes to hold before the deadline; where not, it is to go."""
    while (move := next_move(bid, _living(storage, bid))) == "keep":
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return move == "hold"


def _living(storage: Storage, own: Bid) -> list[Bid]:
    """The bids that stand and whose owners live; those of dead ones are removed."""
    selector = fs.FileSelector(storage.path(FOLDER), allow_not_found=True)
    try:
        found = storage.filesystem.get_file_info(selector)
    except OSError as error:
        raise InputError(f"{storage.display(FOLDER)} can't be read: {error}") from None
    bids = [(bid, info.mtime_ns) for info in found if (bid := Bid.read(info.base_name))]
    now = next((written for bid, written in bids if bid == own), None)
    living = []
    for bid, written in bids:
        if bid != own and (_is_expired(written, now) or _has_died_here(bid)):
            _remove(storage, posixpath.join(FOLDER, bid.file))
        else:
            living.append(bid)
    return living


def _is_expired(written: int | None, now: int | None) -> bool:
    """By the store's clock, in ns; one without clocks has no leases that last."""
    return written is None or now is None or now - written > EXPIRY_SECONDS * 1e9


def _beat(storage: Storage, path: str, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        with contextlib.suppress(InputError):  # the next one may come through
            storage.write(path, b"")


def _remove(storage: Storage, path: str) -> None:
    with contextlib.suppress(OSError):  # gone already, or it expires
        storage.filesystem.delete_file(storage.path(path))


def _make_bid(names: Sequence[str]) -> Bid:
    process = os.getpid()
    wanted = frozenset(_short(name) for name in sorted(names)[:MOST_NAMES])
    return Bid(uuid.uuid4().hex[:12], _machine(), process, _start_of(process) or 0, wanted)


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_NAME_LENGTH]


# Processes of this machine


@cache
def _machine() -> str:
    """A name for what process ids mean the same in: this boot of this machine, or container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return _short(boot + os.readlink("/proc/self/ns/pid"))
    except OSError:
        return uuid.uuid4().hex[:_NAME_LENGTH]  # nobody else's


def _has_died_here(bid: Bid) -> bool:
    return bid.machine == _machine() and _start_of(bid.process) != bid.start


def _start_of(process: int) -> int | None:
    """When a living process of this machine started, in the kernel's ticks; None without one."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # its name may hold anything
    return None if fields[0] in "ZX" else int(fields[19])
