"""The collector is as it was afterwards, and still finds what was made meanwhile."""

from __future__ import annotations

import gc
import weakref

import pytest

from recalltrap.garbage import uncollected


class Ring:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


def test_garbage_made_meanwhile_is_found_later() -> None:
    frozen = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
        ring = weakref.ref(Ring())
    assert gc.isenabled()
    assert (gc.get_freeze_count() > 0) == (frozen > 0)  # what others froze stays frozen
    gc.collect()
    assert ring() is None


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with uncollected(), pytest.raises(ZeroDivisionError), uncollected():
            _ = 1 / 0
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_error_turns_it_on_again() -> None:
    with pytest.raises(ZeroDivisionError), uncollected():
        _ = 1 / 0
    assert gc.isenabled()
