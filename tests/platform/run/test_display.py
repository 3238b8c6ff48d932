from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from toy_kind import KIND

from recalltrap.run.display import ProgressTable
from recalltrap.run.plan import Plan, make_plan
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.named_studies import load_study


@pytest.fixture
def plan(study_file: Callable[..., str], storage: str) -> Plan:
    return make_plan(load_study(study_file()), KIND, ArtifactStore(Storage(storage)), ())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drive(progress: ProgressTable, plan: Plan) -> None:
    progress.begin(plan)
    for pack in plan.packs:
        row = {"stage": "align", "step": 5, "steps": 10, "reward_mean": 1.25, "reward_sd": 0.5}
        progress.progress(pack, row)
        progress.finished(pack)
    progress.failed(plan.packs[-1], "it broke [red]here[/red]\nlong story")
    progress.end()


def test_what_the_user_should_know_is_said_before_anything_starts(plan: Plan) -> None:
    for stream in (io.StringIO(), Terminal()):
        ProgressTable(stream).begin(replace(plan, packs=(), notes=("a[b]: one", "c: two")))
        assert "note: a[b]: one" in stream.getvalue()
        assert "note: c: two" in stream.getvalue()


def test_plain_lines_where_there_is_no_terminal(plan: Plan) -> None:
    stream = io.StringIO()
    drive(ProgressTable(stream), plan)
    shown = stream.getvalue()
    assert "\x1b" not in shown
    assert "toy/test: 12 cells, 0 done before, 12 to do in 6 trials" in shown
    assert "it broke [red]here[/red]" in shown
    assert "long story" not in shown
    assert "12/12 cells, 6/6 trials, 1 failed" in shown.splitlines()[-1]


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Turns the clock on by so many seconds."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def turn(seconds: float) -> None:
        now[0] += seconds

    return turn


def test_plain_lines_say_what_stages_still_take(
    plan: Plan, turned: Callable[[float], None]
) -> None:
    stream = io.StringIO()
    progress = ProgressTable(stream)
    progress.begin(plan)
    for step in range(0, 300, 100):
        progress.progress(plan.packs[0], {"stage": "sample", "step": step, "steps": 1000})
        turned(60)
    name = plan.packs[0].name
    assert stream.getvalue().splitlines()[-3:] == [
        f"0/12 cells, 0/6 trials, 0 seconds; {name}: sample 0/1000",
        f"0/12 cells, 0/6 trials, 60 seconds; {name}: sample 100/1000, about 9 minutes left",
        f"0/12 cells, 0/6 trials, 2 minutes; {name}: sample 200/1000, about 8 minutes left",
    ]


def test_lines_come_at_most_every_five_seconds_and_later_every_minute(
    plan: Plan, turned: Callable[[float], None]
) -> None:
    stream = io.StringIO()
    progress = ProgressTable(stream)
    progress.begin(plan)
    said = []
    for second in range(20_000):
        before = len(stream.getvalue())
        row = {"stage": "sample", "step": second, "steps": 20_000}
        progress.progress(plan.packs[0], row)
        if len(stream.getvalue()) > before:
            said.append(second)
        turned(1)
    pauses = [later - earlier for earlier, later in itertools.pairwise(said)]
    assert pauses[0] == 5
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60


def test_the_table_says_it_too(
    plan: Plan, turned: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = ProgressTable(io.StringIO())
    progress.begin(plan)
    for step in (0, 50):
        progress.progress(plan.packs[0], {"stage": "sft", "step": step, "steps": 100})
        turned(10)
    (row,) = progress.in_flight()
    assert (row["stage"], row["steps"], row["left"]) == ("sft", "50/100", "about 1 seconds")
    progress.progress(plan.packs[0], {"stage": "waiting for shared stages", "step": 0, "steps": 0})
    (row,) = progress.in_flight()
    assert (row["steps"], row["left"]) == ("", "")


def test_nothing_to_do_is_said_so(study_file: Callable[..., str], storage: str) -> None:
    study = load_study(study_file())
    done = [cell.id for cell in study.cells()]
    stream = io.StringIO()
    progress = ProgressTable(stream)
    progress.begin(make_plan(study, KIND, ArtifactStore(Storage(storage)), done))
    progress.end()
    assert stream.getvalue().splitlines()[-1] == "nothing to do: every cell of the study is done"


def test_a_table_on_a_terminal(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    drive(ProgressTable(stream), plan)
    assert "\x1b" in stream.getvalue()
    assert "12/12 cells" in stream.getvalue()


def test_an_interrupted_table_gives_the_terminal_back(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = ProgressTable(stream)
    progress.begin(plan)
    progress.end()
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1
