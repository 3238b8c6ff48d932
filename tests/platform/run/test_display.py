from __future__ import annotations

import io
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
