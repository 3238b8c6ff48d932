"""The watchdog over trials that wait: what counts as waiting, and for how long."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from recalltrap_cluster.faults.pending import NothingStarts, PendingWatch


def trials(*statuses: str) -> list[Any]:
    return [SimpleNamespace(status=status) for status in statuses]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("waiting", [trials("PENDING"), trials("TERMINATED", "PENDING"), []])
def test_nothing_that_runs_for_too_long_is_an_error(waiting: list[Any], clock: Clock) -> None:
    """Also where no trial was handed out, for there was no room."""
    watch = PendingWatch(2.0, clock)
    watch.on_step_end(1, waiting)
    clock.now = 119.0
    watch.on_step_end(2, waiting)
    clock.now = 121.0
    with pytest.raises(NothingStarts, match=r"for 2 minutes.*resources\.pending_minutes"):
        watch.on_step_end(3, waiting)


def test_whatever_runs_lets_the_others_wait(clock: Clock) -> None:
    watch = PendingWatch(2.0, clock)
    for minute in range(60):
        clock.now = 60.0 * minute
        now = trials("RUNNING", "RUNNING", "PENDING") if minute % 2 else trials("PENDING")
        watch.on_step_end(minute, now)
        assert watch.trials is now


def test_a_pickled_watch_is_a_fresh_one(clock: Clock) -> None:
    watch = PendingWatch(2.0, clock)
    watch.on_step_end(1, trials("RUNNING"))
    again = pickle.loads(pickle.dumps(watch))
    assert (again.minutes, again.trials, again.idle_since) == (2.0, [], None)
