"""A command that goes on in a process of its own, which another one watches and can end.

What a query makes DuckDB do can be one call that neither looks at the clock nor at its own limit of
memory: `select repeat('x', 2000000000)`. Only another process can end that.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recalltrap.cli.output import say, speaks_for_process

Complaint = Callable[[Literal["time", "memory"]], str]
"""What to say of a process that took too much of either."""
GRACE = 1.0
"""Seconds that the process has to end by itself after its time is up."""
ROOM = 256
"""Megabytes beside the limit, for what isn't the query's: the answer as text, threads' stacks."""


@dataclass(frozen=True)
class Watch:
    """What is watched: all between the two calls."""

    begin: Callable[[], None]
    end: Callable[[], None]


UNWATCHED = Watch(lambda: None, lambda: None)


def go_on_watched(seconds: float, megabytes: int, complaint: Complaint) -> Watch:
    """Return in a child process, with what starts its clock and limits its memory, and what stops
    the clock: printing the answer isn't the query's time.

    The parent waits for the child and exits as it did, or with a message and status 2 where it had
    to end it. Without `fork`, in a process that has threads and in one that isn't the command
    line's own, everything stays as it is.
    """
    if not speaks_for_process() or not hasattr(os, "fork") or threading.active_count() > 1:
        return UNWATCHED
    reading, writing = os.pipe()
    # Who is asked to end before the parent passes that on would leave the child behind.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    child = os.fork()
    if child:
        os.close(writing)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child gets it, too, and says so
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        sys.exit(_watch(child, reading, seconds + GRACE, complaint))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(reading)

    def begin() -> None:
        _limit_memory(megabytes + ROOM)
        os.write(writing, b"b")

    return Watch(begin, lambda: os.close(writing))


def _limit_memory(megabytes: int) -> None:
    """Let this process take so much more than it has, where the system knows such a limit."""
    import resource

    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        held = next(int(line.split()[1]) for line in status.splitlines() if "VmData" in line)
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (held * 1024 + megabytes * 1_000_000, hard))
    except (OSError, StopIteration, ValueError):
        return


def _watch(child: int, said: int, seconds: float, complaint: Complaint) -> int:
    """Wait for the child; its exit status, or 2."""
    os.read(said, 1)  # until the child begins, or ends
    deadline = time.monotonic() + seconds
    done = False
    while True:
        done = done or bool(select.select([said], [], [], 0)[0])  # closed: nothing follows
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended and os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        if ended and os.WTERMSIG(status) in (signal.SIGTERM, signal.SIGHUP):
            return 128 + os.WTERMSIG(status)
        if ended or (time.monotonic() > deadline and not done):
            if not ended:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            say(f"recalltrap: {complaint('memory' if ended else 'time')}", error=True)
            return 2
        time.sleep(0.02)
