"""How long a stage still takes, by a clock that the test turns."""

from __future__ import annotations

import time

import pytest

from recalltrap.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_the_rest_takes_as_long_as_the_steps_before_it(clock: Clock) -> None:
    pace = Pace()
    for step in (0, 10, 20):
        pace.see("sample", step, 100)
        clock.now += 30
    # 60 s for 20 steps, 80 are left, and 30 s of them have passed
    assert pace.seconds_left() == pytest.approx(80 * 3 - 30)
    assert pace.left() == "about 3.5 minutes"
    clock.now += 1000
    assert pace.seconds_left() == 0
    assert pace.left() == "about 1 seconds"


def test_nothing_is_said_before_there_is_a_pace_and_at_the_end(clock: Clock) -> None:
    pace = Pace()
    assert pace.left() == ""
    pace.see("sample", 3, 10)
    clock.now += 60
    assert pace.left() == ""  # when it began isn't known
    pace.see("sample", 4, 10)
    assert pace.left() == "about 6 minutes"
    pace.see("sample", 10, 10)
    assert pace.left() == ""


def test_the_first_moment_of_a_stage_promises_nothing(clock: Clock) -> None:
    pace = Pace()
    pace.see("sft", 0, 10)
    clock.now += 0.5
    pace.see("sft", 5, 10)
    assert pace.left() == ""


@pytest.mark.parametrize("then", [("align", 5, 100), ("sample", 5, 200), ("sample", 5, 100)])
def test_another_stage_and_one_that_goes_back_begin_anew(
    clock: Clock, then: tuple[str, int, int]
) -> None:
    pace = Pace()
    pace.see("sample", 0, 100)
    clock.now += 10
    pace.see("sample", 50, 100)
    assert pace.seconds_left() == pytest.approx(10)
    pace.see(*then)
    assert pace.seconds_left() is None
    clock.now += 100
    pace.see(then[0], 6, then[2])
    assert pace.seconds_left() == pytest.approx(100 * (then[2] - 6))


def test_a_stage_that_counts_no_steps_has_no_end(clock: Clock) -> None:
    pace = Pace()
    for _ in range(3):
        pace.see("waiting for shared stages", 0, 0)
        clock.now += 10
    assert pace.left() == ""
