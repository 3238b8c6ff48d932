"""Who builds an artifact while others want it, too: locks in a folder, leases in an object store.

They spare concurrent processes the same work and guard nothing: artifacts are equal whoever builds
them. A process that dies gives up what it holds, and what it leaves is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import filelock

from recalltrap.store.leases import lease
from recalltrap.store.patience import patiently
from recalltrap.store.storage import Storage

FOLDER = "locks"
MOST_NAMES = 32  # held at once: each is a file to open, and who builds the same wants the same


@contextlib.contextmanager
def build_lock(storage: Storage, names: Sequence[str], wait_seconds: float) -> Iterator[bool]:
    """Hold the named locks together, or none: yields whether they were had in time.

    None to hold is had at once.
    """
    if not names:
        yield True
    elif storage.is_local:
        with contextlib.ExitStack() as held:
            yield _acquire(storage, names, wait_seconds, held)
    else:
        with lease(storage, names, wait_seconds) as had:
            yield had


def _acquire(
    storage: Storage, names: Sequence[str], wait: float, held: contextlib.ExitStack
) -> bool:
    os.makedirs(storage.path(FOLDER), exist_ok=True)
    with contextlib.ExitStack() as acquired:
        try:
            for name in sorted(names)[:MOST_NAMES]:  # one order for everybody: no deadlock
                acquired.enter_context(_file_lock(storage, name, wait))
        except filelock.Timeout:
            return False
        held.enter_context(acquired.pop_all())
    return True


@contextlib.contextmanager
def _file_lock(storage: Storage, name: str, wait: float) -> Iterator[None]:
    """One lock, whose file goes before it is let go.

    Whoever opened it meanwhile finds it without a name, and makes a new one.
    """
    path = storage.path(f"{FOLDER}/{name}")
    lock = filelock.FileLock(path, timeout=wait)
    patiently(lock.acquire)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            os.unlink(path)
        lock.release()


def clear_locks(storage: Storage) -> None:
    """Remove the lock files of processes that were killed. Leases go when others are looked at."""
    if not storage.is_local:
        return
    for name in storage.list(FOLDER):
        with contextlib.suppress(filelock.Timeout, OSError), _file_lock(storage, name, 0.0):
            pass
