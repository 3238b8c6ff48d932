"""Live progress of a run: a table on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from recalltrap.redaction import redact
from recalltrap.run.look_studies import look_title
from recalltrap.run.plan import Pack, Plan
from recalltrap.units import duration

LINE_SECONDS = 5.0


class Display(Protocol):
    """What an executor tells whoever is watching."""

    def begin(self, plan: Plan) -> None: ...
    def progress(self, pack: Pack, row: dict[str, Any]) -> None:
        """A chunk is done; `row` holds stage, step, steps and the chunk's metrics."""
        ...

    def finished(self, pack: Pack) -> None: ...
    def failed(self, pack: Pack, message: str) -> None: ...
    def end(self) -> None: ...


class Silent:
    """For Python callers."""

    def begin(self, plan: Plan) -> None: ...
    def progress(self, pack: Pack, row: dict[str, Any]) -> None: ...
    def finished(self, pack: Pack) -> None: ...
    def failed(self, pack: Pack, message: str) -> None: ...
    def end(self) -> None: ...


@dataclass
class _Row:
    pack: Pack
    stage: str = ""
    step: int = 0
    steps: int = 0
    reward: str = ""


class Progress:
    """Counts a run's cells and trials and knows those in flight; a subclass shows them."""

    def begin(self, plan: Plan) -> None:
        """Count from nothing: a study that is run until it is decided begins at every look."""
        self.rows: dict[str, _Row] = {}
        self.cells_done = self.packs_done = self.packs_failed = 0
        self.plan = plan
        self.began = time.monotonic()

    def progress(self, pack: Pack, row: dict[str, Any]) -> None:
        entry = self.rows.setdefault(pack.id, _Row(pack))
        entry.stage, entry.step, entry.steps = row["stage"], row["step"], row["steps"]
        if "reward_mean" in row:
            entry.reward = f"{row['reward_mean']:.2f} ± {row.get('reward_sd', 0.0):.2f}"
        self.show()

    def finished(self, pack: Pack) -> None:
        self.rows.pop(pack.id, None)
        self.packs_done += 1
        self.cells_done += len(pack.cells)
        self.show()

    def failed(self, pack: Pack, message: str) -> None:
        self.rows.pop(pack.id, None)
        self.packs_failed += 1
        self.say(f"failed: {pack.name}: {redact(message.splitlines()[0])}")
        self.show()

    def show(self) -> None:
        """The counts or the trials in flight have changed."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """A line that stays."""
        raise NotImplementedError

    def opening(self) -> list[str]:
        """What stands above the progress: the size of the work, and notes on it."""
        plan = self.plan
        look = look_title(plan.study)
        title = f"{plan.study.name}, {look}" if look else plan.study.name
        return [
            f"{title}: {len(plan.cells)} cells, {len(plan.done)} done before, "
            f"{len(plan.todo)} to do in {len(plan.packs)} trials; "
            f"{len(plan.cached)} stages from the store",
            *(f"note: {note}" for note in plan.notes),
        ]

    def count(self) -> str:
        """How far it is, in a line."""
        if not self.plan.todo and not self.plan.packs:
            what = "look" if self.plan.study.looks else "study"
            return f"nothing to do: every cell of the {what} is done"
        failed = f", {self.packs_failed} failed" if self.packs_failed else ""
        return (
            f"{self.cells_done}/{len(self.plan.todo)} cells, "
            f"{self.packs_done}/{len(self.plan.packs)} trials{failed}, "
            f"{duration(time.monotonic() - self.began)}"
        )

    def in_flight(self) -> list[dict[str, str]]:
        """The latest trials at work, as rows."""
        return [
            {
                "trial": row.pack.name,
                "stage": row.stage,
                "iterations": f"{row.step}/{row.steps}",
                "reward (mean ± sd over seeds)": row.reward,
            }
            for row in list(self.rows.values())[-8:]
        ]


class ProgressTable(Progress):
    """For a terminal: a table drawn in place, else a line now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.console = Console(file=stream or sys.stderr)
        self.live: Live | None
        self._said_at = 0.0

    def begin(self, plan: Plan) -> None:
        super().begin(plan)
        self.live = None
        for line in self.opening():
            self.say(line)
        if self.console.is_terminal and plan.packs:
            self.live = Live(self._table(), console=self.console, refresh_per_second=4)
            self.live.start()

    def end(self) -> None:
        if self.live is not None:
            self.live.update(self._table())
            self.live.stop()
        self.console.print(self.count())

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show(self) -> None:
        if self.live is not None:
            self.live.update(self._table())
        elif time.monotonic() - self._said_at >= LINE_SECONDS:
            self._said_at = time.monotonic()
            self.console.print(self.count())

    def _table(self) -> Table:
        table = Table(title=self.count(), title_justify="left", expand=False)
        for column in ("trial", "stage", "iterations", "reward (mean ± sd over seeds)"):
            table.add_column(column)
        for row in self.in_flight():
            table.add_row(*map(Text, row.values()))
        return table
