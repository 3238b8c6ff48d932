"""A command that goes on in a process of its own, which this one watches.

Under Ray a process can't always speak for itself: it is deaf while it joins, aborts with a stack
dump, or is ended by Ray's C++ a minute after the cluster was lost. The supervisor imports none of
that. It passes signals on, looks whether what the work depends on still answers, ends what doesn't
end by itself, with all that it started, and says in one line what stands and how to go on.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import selectors
import signal
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, NoReturn

from recalltrap.supervision.lifeline import KEPT, LIFELINE, Door, answers
from recalltrap.supervision.marked_processes import end_marked

GRACE = 10.0
"""Seconds that an interrupted process has to end by itself, and an ended one to be gone."""
HEARD = 0.5
"""Seconds after which a signal that came here and not there is passed on: a terminal sends it to
both."""
LOST_HERE, LOST_ELSEWHERE = 2.0, 8.0
"""Seconds without an answer after which a door is lost: on this machine nobody listens any more,
elsewhere it may be the network."""
LOOK = 0.5
"""Seconds between two looks."""


def go_on_supervised() -> None:
    """Return in a child process; the parent watches it and exits as it did, or in its place.

    Without `fork`, and in a process that has threads already, everything stays as it is.
    """
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    told, tell = os.pipe()
    living, life = os.pipe()
    mark = uuid.uuid4().hex
    child = os.fork()
    if child:
        os.close(tell)
        os.close(living)
        _leave(Supervisor(child, told, mark).watch())
    os.close(told)
    os.close(life)
    LIFELINE.tie(tell, living, mark)


def _leave(status: int) -> NoReturn:
    sys.exit(status)


@dataclass
class Supervisor:
    """Watches one child, which tells what it depends on through the pipe `told`."""

    child: int
    told: int
    mark: str
    doors: list[Door] = field(default_factory=list)
    missed: dict[Door, float] = field(default_factory=dict)
    """When a door was first found without an answer."""
    asked: int | None = None
    """The signal that came here first."""
    asked_at: float = 0.0
    passed_on: bool = False
    awaited: str | None = None
    """What the child must have word of again, if of anything."""
    patience: float = 0.0
    """In so many seconds."""
    ended: int | None = None
    """The exit status that the child has announced."""
    ended_at: float = 0.0
    _buffer: bytes = b""

    def watch(self) -> int:
        """Until the child is gone; the exit status, with the reason said where it couldn't."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._ask)
        eyes = selectors.DefaultSelector()
        for source in (woken, self.told):
            eyes.register(source, selectors.EVENT_READ)
        looked = time.monotonic()
        while True:
            for key, _ in eyes.select(LOOK):
                if not self._hear(key.fd):
                    eyes.unregister(key.fd)
            status = self._reap()
            if status is not None:
                return self._after(status)
            self._pass_on()
            if self._overdue():
                return self._end_it(None)
            if (passed := time.monotonic() - looked) >= LOOK:
                looked += passed
                if lost := self._lost() or self._unheard(passed):
                    return self._end_it(lost)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked is None:
            self.asked, self.asked_at = number, time.monotonic()

    def _hear(self, source: int) -> bool:
        """Take what can be read; False at its end."""
        said = os.read(source, 65536)
        if source == self.told:
            # A byte below a space is a signal that the child has heard.
            if signal.SIGINT in said:
                self.passed_on = True
                self._ask(signal.SIGINT, None)
            self._buffer += bytes(byte for byte in said if byte >= 32 or byte == 10)
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                self._learn(json.loads(line))
        return bool(said)

    def _learn(self, message: dict[str, Any]) -> None:
        if "doors" in message:
            self.doors = [Door(**door) for door in message["doors"]]
            self.missed = {}
        if "awaited" in message:
            self.awaited, self.patience = message["awaited"], message["seconds"]
        if "ended" in message:
            self.ended, self.ended_at = message["ended"], time.monotonic()
            self.doors, self.awaited = [], None

    def _pass_on(self) -> None:
        """Interrupt the child where it hasn't heard by itself; SIGTERM it never does."""
        if self.asked is None or self.passed_on:
            return
        if self.asked != signal.SIGINT or time.monotonic() - self.asked_at >= HEARD:
            self.passed_on = True
            os.kill(self.child, signal.SIGINT)

    def _overdue(self) -> bool:
        now = time.monotonic()
        interrupted = self.asked is not None and now - self.asked_at > GRACE
        return interrupted or (self.ended is not None and now - self.ended_at > GRACE)

    def _unheard(self, passed: float) -> str | None:
        """What there was no word of for too long, so many seconds after the last look.

        A look that comes late, as where everything was stopped meanwhile, counts as one in time.
        """
        self.patience -= min(passed, 2 * LOOK)
        if self.awaited is None or self.patience > 0:
            return None
        return f"{self.awaited} says nothing any more"

    def _lost(self) -> str | None:
        """Which door hasn't answered for too long."""
        for door in self.doors:
            if answers(door):
                self.missed.pop(door, None)
                continue
            since = self.missed.setdefault(door, time.monotonic())
            if time.monotonic() - since >= (LOST_HERE if is_here(door.host) else LOST_ELSEWHERE):
                return f"{door.what} ({door.host}:{door.port}) no longer answers"
        return None

    def _reap(self) -> int | None:
        """The child's exit status, negative where a signal ended it; None while it lives."""
        ended, status = os.waitpid(self.child, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None

    def _after(self, status: int) -> int:
        """The child is gone: by its own will, or without a word."""
        while self._hear(self.told):  # what it said last
            pass
        end_marked(self.mark, patience=GRACE / 2 if self.ended is not None else 0.0)
        if self.ended is not None:
            return self._status(self.ended)
        if self.asked is None:
            self._say(f"{_how(status)}; {KEPT}")
            return 1
        self._say(f"interrupted; {KEPT}")
        return self._status(130)

    def _end_it(self, lost: str | None) -> int:
        """End the child and all that it started; say why: what is lost, or it was interrupted."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        end_marked(self.mark)
        if self.ended is not None:
            return self._status(self.ended)
        if lost is not None:
            self._say(f"Ray's cluster is lost: {lost}; {KEPT}")
            return 1
        self._say(f"interrupted; {KEPT}")
        return self._status(130)

    def _status(self, status: int) -> int:
        """As the shell knows it: 128 + the signal that came, where the child was interrupted."""
        interrupted = status == 130 and self.asked is not None
        return 128 + (self.asked or 0) if interrupted else status

    @staticmethod
    def _say(text: str) -> None:
        # A line that the child has begun ends here.
        sys.stderr.write(f"recalltrap: {text}\n")
        sys.stderr.flush()


def _how(status: int) -> str:
    """How a process ended that didn't say so."""
    if status >= 0:
        return f"the process that drove the run ended without a word (status {status})"
    name = signal.Signals(-status).name
    hint = ", as the system does when memory is short" if -status == signal.SIGKILL else ""
    return f"the process that drove the run was killed ({name}{hint})"


def is_here(host: str) -> bool:
    """Whether a host is this machine by its loopback address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
