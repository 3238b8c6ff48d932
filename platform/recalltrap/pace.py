"""How long a stage still takes, by how far it has come since it was first heard of."""

from __future__ import annotations

import time
from dataclasses import dataclass

from recalltrap.units import duration

LEAST_SECONDS = 2.0
"""Of watching, before anything is said: the first steps of a stage are slower than the others."""


@dataclass
class Pace:
    """A stage's steps as they are told; another stage, or one that goes back, begins anew."""

    stage: str = ""
    step: int = 0
    steps: int = 0
    _first: tuple[float, int] = (0.0, 0)
    _last: float = 0.0

    def see(self, stage: str, step: int, steps: int) -> None:
        """The stage is at `step` of `steps` now."""
        now = time.monotonic()
        if (stage, steps) != (self.stage, self.steps) or step < self.step:
            self._first = now, step
        if step != self.step:
            self._last = now
        self.stage, self.step, self.steps = stage, step, steps

    def seconds_left(self) -> float | None:
        """What the rest takes at the mean pace so far; None before there is one."""
        (began, first), done = self._first, self.step - self._first[1]
        if done <= 0 or self._last - began < LEAST_SECONDS or not first < self.steps:
            return None
        each = (self._last - began) / done
        since = time.monotonic() - self._last
        return max((self.steps - self.step) * each - since, 0.0)

    def left(self) -> str:
        """The same in words, e.g. ``about 2.5 hours``; empty before it is known, and at the end."""
        seconds = self.seconds_left() if self.step < self.steps else None
        return "" if seconds is None else f"about {duration(max(round(seconds), 1))}"
