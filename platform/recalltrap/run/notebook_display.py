"""Live progress in a notebook: one block of HTML that is drawn again where it stands.

Rich's live display would need ipywidgets there; IPython's own displays need nothing.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any

from recalltrap.results import notebook_html
from recalltrap.run.display import Display, Progress, Silent
from recalltrap.run.plan import Plan

DRAW_SECONDS = 0.5


def default_display() -> Display:
    """A notebook's display where an IPython kernel runs this process, else none."""
    return NotebookProgress() if in_notebook() else Silent()


def in_notebook() -> bool:
    """Whether a kernel runs this process: IPython in a terminal shows no HTML."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookProgress(Progress):
    """Counts, failures and the trials in flight below the cell that started the run."""

    def __init__(self) -> None:
        self._display = import_module("IPython.display")
        self._handle: Any = None
        self._drawn_at = 0.0

    def begin(self, plan: Plan) -> None:
        super().begin(plan)
        self._failures: list[str] = []
        self._handle = self._display.display(self._html(), display_id=True)

    def end(self) -> None:
        self.rows.clear()
        self._draw()

    def say(self, line: str) -> None:
        self._failures.append(line)

    def show(self) -> None:
        if time.monotonic() - self._drawn_at >= DRAW_SECONDS:
            self._draw()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        self._handle.update(self._html())

    def _html(self) -> Any:
        title, *notes = self.extent.lines()
        text = notebook_html.block(
            title,
            notebook_html.lines([*notes, *self._failures, self.count()]),
            notebook_html.table(self.in_flight()),
        )
        return self._display.HTML(text)
