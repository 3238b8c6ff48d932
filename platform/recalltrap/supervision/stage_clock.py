"""How long a stage may take: asked wherever it says how far it is, and by a timer if it hangs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from recalltrap.errors import StageError

HANG_SECONDS = 60.0
"""How long after its time is up a stage counts as one that hangs: it ends by itself where it says
how far it is, which it does every few seconds."""


@dataclass(frozen=True)
class StageClock:
    """One execution of a stage, and the minutes that it may take."""

    stage: str
    minutes: float
    began: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise where the time is up.

        Raises:
            StageError: of the class `timeout`.
        """
        if time.monotonic() - self.began > 60.0 * self.minutes:
            raise self.error()

    def error(self) -> StageError:
        """What to say of it."""
        return StageError(
            "timeout",
            f"stage {self.stage} took longer than its {self.minutes:g} minutes: raise "
            f"resources.time_limits.{self.stage}",
        )


_RUNNING: list[StageClock] = []
"""Of this process: stages that are executed, one inside the other at most."""


def check_time() -> None:
    """Raise where the stage that this process executes has had its time; see `limited`."""
    for clock in _RUNNING:
        clock.check()


@contextlib.contextmanager
def limited(
    stage: str, minutes: float | None, hangs: Callable[[StageError], None] | None = None
) -> Iterator[None]:
    """Let what is executed meanwhile take so many minutes; None: as long as it likes.

    `hangs` is called from another thread where the time was up for `HANG_SECONDS` and nobody
    asked `check_time`.
    """
    if minutes is None:
        yield
        return
    clock = StageClock(stage, minutes)
    timer = threading.Timer(60.0 * minutes + HANG_SECONDS, lambda: hangs and hangs(clock.error()))
    timer.daemon = True
    if hangs is not None:
        timer.start()
    _RUNNING.append(clock)
    try:
        yield
    finally:
        _RUNNING.remove(clock)
        timer.cancel()
