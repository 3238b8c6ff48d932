"""What a supervised process tells the one that watches it; nobody listens where there is none.

A line of JSON each, over a pipe. Python itself writes every signal that the process hears there, as
one byte: a process that is deep in somebody's C++ hears it as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

from recalltrap.supervision.marked_processes import MARK, end_marked

KEPT = "finished work is kept, and running the same command again does the rest"
"""What stands and how to go on, at the end of every interruption."""


@dataclass(frozen=True)
class Door:
    """Where something answers that the work can't do without: what it is, and its TCP address."""

    what: str
    host: str
    port: int


def answers(door: Door, seconds: float = 2.0) -> bool:
    """Whether anybody accepts a connection there."""
    try:
        socket.create_connection((door.host, door.port), seconds).close()
    except OSError:
        return False
    return True


@dataclass
class Lifeline:
    """The supervised process's end: `pipe` to the supervisor, `None` where there is none."""

    pipe: int | None = None

    def tie(self, pipe: int, alive: int, mark: str) -> None:
        """Begin to be supervised: say what is heard, and end when the supervisor does.

        `alive` is a pipe whose other end the supervisor alone holds.
        """
        self.pipe = pipe
        os.environ[MARK] = mark
        os.set_blocking(pipe, False)
        signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
        keep_terminating_handled()
        threading.Thread(target=_end_with, args=(alive, mark), daemon=True).start()

    def depend_on(self, doors: Iterable[Door]) -> None:
        """From now on the work needs an answer at these doors, and at no others."""
        self._tell({"doors": [asdict(door) for door in doors]})

    @contextlib.contextmanager
    def hearing_of(self, what: str, seconds: float) -> Iterator[Callable[[], None]]:
        """Meanwhile the work needs word of something every so many seconds.

        Yields what any thread calls where there was word of it.
        """
        saying, over = threading.Lock(), threading.Event()

        def heard() -> None:
            with saying:
                if not over.is_set():
                    self._tell({"awaited": what, "seconds": seconds})

        heard()
        try:
            yield heard
        finally:
            with saying:
                over.set()
                self._tell({"awaited": None, "seconds": 0.0})

    def end(self, status: int) -> None:
        """All that was to be said is said: what is left is to leave with this exit status."""
        self._tell({"ended": status})

    def _tell(self, message: object) -> None:
        if self.pipe is not None:
            with contextlib.suppress(OSError):  # nobody listens any more
                os.write(self.pipe, json.dumps(message).encode() + b"\n")


LIFELINE = Lifeline()
"""This process's."""


def keep_terminating_handled() -> None:
    """Let SIGTERM do nothing in a supervised process: the supervisor interrupts it instead.

    To be called again after whoever takes that signal. Ray does, and then it ends in a stack dump.
    """
    if LIFELINE.pipe is not None:
        signal.signal(signal.SIGTERM, lambda *_: None)  # no SIG_IGN: children would inherit that


def _end_with(alive: int, mark: str) -> None:
    os.read(alive, 1)  # until the supervisor is gone
    end_marked(mark)
    os.kill(os.getpid(), signal.SIGKILL)
