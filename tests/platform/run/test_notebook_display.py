"""Progress in a notebook, against a stand-in for IPython: which display, and what it shows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import recalltrap as rt
from recalltrap.run import notebook_display
from recalltrap.run.display import Silent
from recalltrap.run.notebook_display import NotebookProgress, default_display, in_notebook
from recalltrap.run.run import plan_study
from recalltrap.store.storage import Storage

StudyFile = Callable[..., str]


class Shown:
    """What `IPython.display.display` was given: the page as it is, and how often it changed."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def display(self, page: Any, *, display_id: bool) -> Shown:
        assert display_id
        self.pages.append(page.data)
        return self

    def update(self, page: Any) -> None:
        self.pages.append(page.data)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """IPython's shell, in a kernel."""
    shell = SimpleNamespace(kernel=object())
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return shell


@pytest.fixture
def shown(shell: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Shown:
    page = Shown()
    module = ModuleType("IPython.display")
    module.display = page.display  # type: ignore[attr-defined]
    module.HTML = lambda data: SimpleNamespace(data=data)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return page


def test_a_kernel_gets_a_display_and_nobody_else_does(
    shell: SimpleNamespace, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(default_display(), NotebookProgress)
    del shell.kernel  # IPython in a terminal
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert isinstance(default_display(), Silent)


def test_a_run_draws_its_progress_where_it_stands(
    study_file: StudyFile, storage: str, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook_display, "DRAW_SECONDS", 0.0)
    rt.run(study_file(), seeds=1, storage=storage, local=True)
    assert "toy/test: 4 cells, 0 done before, 4 to do" in shown.pages[0]
    assert any("<td style='text-align: left'>align</td>" in page for page in shown.pages)
    assert "4/4 cells" in shown.pages[-1]
    assert "<table" not in shown.pages[-1], "nothing is in flight any more"


def test_failures_stay_and_are_text(study_file: StudyFile, storage: str, shown: Shown) -> None:
    plan = plan_study(rt.load_study(study_file()), Storage(storage))
    progress = NotebookProgress()
    progress.begin(plan)
    progress.failed(plan.packs[-1], "it broke <b>here</b>\nlong story")
    progress.end()
    assert "it broke &lt;b&gt;here&lt;/b&gt;" in shown.pages[-1]
    assert "long story" not in shown.pages[-1]
    assert "1 failed" in shown.pages[-1]


def test_silence_can_be_asked_for(study_file: StudyFile, storage: str, shown: Shown) -> None:
    rt.run(study_file(), seeds=1, storage=storage, local=True, display=Silent())
    assert shown.pages == []
