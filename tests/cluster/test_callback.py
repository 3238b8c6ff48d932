"""What Tune says of its trials, passed on to the display: without Ray running."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from toy_display import RecordingDisplay

from recalltrap.graph import Node
from recalltrap.run.display import Silent
from recalltrap.run.plan import Pack
from recalltrap_cluster.callback import DisplayCallback, NoReport
from recalltrap_cluster.placement.admission import Admission
from recalltrap_cluster.placement.requests import Request
from recalltrap_cluster.searcher import PackSearcher
from recalltrap_cluster.trainable import FAILED

ROW = {"stage": "sft", "step": 1, "steps": 2}


@pytest.fixture
def trial() -> Any:
    return SimpleNamespace(trial_id="one", max_failures=3)


@pytest.fixture
def display() -> RecordingDisplay:
    return RecordingDisplay()


@pytest.fixture
def lost() -> list[str]:
    """The trials that were told to be lost."""
    return []


@pytest.fixture
def callback(display: RecordingDisplay, lost: list[str]) -> DisplayCallback:
    pack = Pack((Node("sft", 0, {}),), (), frozenset(), {"stage": "sft", "factors": {}})
    admission = Admission({pack.id: Request({"CPU": 1.0})}, tuple, grouped=False)
    searcher = PackSearcher((pack,), admission)
    searcher.suggest("one")
    return DisplayCallback(searcher, display, lost.append)


def test_a_result_is_progress_of_its_pack(
    callback: DisplayCallback, display: RecordingDisplay, trial: Any
) -> None:
    callback.on_trial_result(1, [trial], trial, ROW)
    callback.on_trial_complete(2, [trial], trial)
    assert [event for event, _ in display.events] == ["progress", "finished"]
    assert trial.max_failures == 3


def test_what_broke_is_shown_and_not_tried_again(
    callback: DisplayCallback, display: RecordingDisplay, trial: Any
) -> None:
    callback.on_trial_result(1, [trial], trial, {**ROW, FAILED: "the loss is NaN"})
    assert display.events == []
    assert trial.max_failures == 0
    callback.on_trial_error(2, [trial], trial)
    assert [event for event, _ in display.events] == ["failed"]
    assert callback.broken == {"one": "the loss is NaN"}


def test_a_lost_trial_gives_its_place_back_and_says_so(
    callback: DisplayCallback, display: RecordingDisplay, lost: list[str], trial: Any
) -> None:
    callback.on_trial_recover(1, [trial], trial)
    assert lost == ["one"]
    callback.on_trial_error(2, [trial], trial)
    assert lost == ["one", "one"]
    assert [event for event, _ in display.events] == ["progress", "failed"]


def test_a_pickled_callback_shows_nothing(callback: DisplayCallback, trial: Any) -> None:
    """Tune pickles it; a terminal or a socket of the display couldn't be."""
    callback.display = SimpleNamespace(terminal=lambda: None)
    again = pickle.loads(pickle.dumps(callback))
    assert isinstance(again.display, Silent)
    again.on_trial_error(1, [trial], trial)


def test_tunes_own_report_is_never_asked_for() -> None:
    """In a notebook it would clear the cell, and our progress with it."""
    reporter = NoReport()
    reporter.setup(total_samples=3)
    assert not reporter.should_report([], done=False)
    assert not reporter.should_report([], done=True)
