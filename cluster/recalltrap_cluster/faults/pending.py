"""A watchdog: trials that never get their place are failures, not an endless wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from recalltrap_cluster.ray_internals import is_running


class NothingStarts(Exception):
    """There are trials to run, and for so many minutes none of them had a place."""

    def __init__(self, minutes: float) -> None:
        super().__init__(minutes)
        self.minutes = minutes

    def __str__(self) -> str:
        return (
            f"no trial got a place on the cluster for {self.minutes:g} minutes (its nodes are gone "
            "or taken by others): run again when there is room, or raise resources.pending_minutes"
        )


class PendingWatch(Callback):
    """Looks after every step of Tune whether any trial runs, and keeps the `trials` that it sees.

    Args:
        minutes: how long none may run.
        clock: seconds.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.minutes, self.clock = minutes, clock
        self.idle_since: float | None = None
        self.trials: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks with its state, and the trials beside them."""
        return {**PendingWatch(self.minutes).__dict__}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune calls it several times a second, until all is done.

        Raises:
            NothingStarts: out of `tune.run`.
        """
        self.trials = trials
        if any(is_running(trial) for trial in trials):
            self.idle_since = None
            return
        now = self.clock()
        if self.idle_since is None:
            self.idle_since = now
        if now - self.idle_since > 60.0 * self.minutes:
            raise NothingStarts(self.minutes)
