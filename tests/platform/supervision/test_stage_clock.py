"""Time limits of stages: asked where progress is told, and by a timer where none is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from recalltrap.errors import StageError
from recalltrap.kind import Progress
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.supervision import stage_clock
from recalltrap.supervision.stage_clock import check_time, limited

LONG_AGO = 1e-9
"""Minutes that are over when the stage begins."""


def wait_for(check: Callable[[], None]) -> None:
    """Check until it raises, which may be after a tick of the clock."""
    for _ in range(1000):
        check()
        time.sleep(0.001)


def test_a_stage_whose_time_is_up_says_so_and_names_the_way_out() -> None:
    with limited("align", LONG_AGO), pytest.raises(StageError) as raised:
        wait_for(check_time)
    assert raised.value.failure == "timeout"
    assert "raise resources.time_limits.align" in str(raised.value)


def test_telling_a_group_of_progress_asks_the_clock() -> None:
    with limited("sft", LONG_AGO), pytest.raises(StageError, match="stage sft took longer"):
        wait_for(lambda: WorkerGroup().report(Progress("sft", 1, 2)))


@pytest.mark.parametrize("minutes", [None, 60.0])
def test_a_stage_with_time_goes_on_and_leaves_no_clock(minutes: float | None) -> None:
    with limited("align", minutes):
        check_time()
    with limited("align", LONG_AGO):
        pass
    check_time()


def test_a_stage_that_hangs_is_given_up_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_clock, "HANG_SECONDS", 0.01)
    given_up, errors = threading.Event(), []

    def give_up(error: StageError) -> None:
        errors.append(error)
        given_up.set()

    with limited("align", LONG_AGO, give_up):
        assert given_up.wait(5)
    assert errors[0].failure == "timeout"
    given_up.clear()
    with limited("align", LONG_AGO, give_up):
        pass
    assert not given_up.wait(0.1), "a stage that has ended isn't given up"
