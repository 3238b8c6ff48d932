"""Live progress of a run: a table on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from recalltrap.redaction import redact
from recalltrap.run.plan import Pack, Plan

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


class ProgressTable:
    """Counts and the packs in flight; `live` draws a table in place, else a line now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.console = Console(file=stream or sys.stderr)
        self.live: Live | None = None
        self.rows: dict[str, _Row] = {}
        self.cells_done = self.packs_done = self.packs_failed = 0
        self._said_at = 0.0

    def begin(self, plan: Plan) -> None:
        self.plan = plan
        self.began = time.monotonic()
        todo, packs = len(plan.todo), len(plan.packs)
        self.console.print(
            f"{plan.study.name}: {len(plan.cells)} cells, {len(plan.done)} done before, "
            f"{todo} to do in {packs} trials; {len(plan.cached)} stages from the store",
            soft_wrap=True,
        )
        for note in plan.notes:
            self.console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
        if self.console.is_terminal and packs:
            self.live = Live(self._table(), console=self.console, refresh_per_second=4)
            self.live.start()

    def progress(self, pack: Pack, row: dict[str, Any]) -> None:
        entry = self.rows.setdefault(pack.id, _Row(pack))
        entry.stage, entry.step, entry.steps = row["stage"], row["step"], row["steps"]
        if "reward_mean" in row:
            entry.reward = f"{row['reward_mean']:.2f} ± {row.get('reward_sd', 0.0):.2f}"
        self._show()

    def finished(self, pack: Pack) -> None:
        self.rows.pop(pack.id, None)
        self.packs_done += 1
        self.cells_done += len(pack.cells)
        self._show()

    def failed(self, pack: Pack, message: str) -> None:
        self.rows.pop(pack.id, None)
        self.packs_failed += 1
        self.console.print(
            f"failed: {pack.name}: {redact(message.splitlines()[0])}", markup=False, soft_wrap=True
        )
        self._show()

    def end(self) -> None:
        if self.live is not None:
            self.live.update(self._table())
            self.live.stop()
        self.console.print(self._count())

    def _count(self) -> str:
        if not self.plan.todo and not self.plan.packs:
            return "nothing to do: every cell of the study is done"
        failed = f", {self.packs_failed} failed" if self.packs_failed else ""
        return (
            f"{self.cells_done}/{len(self.plan.todo)} cells, "
            f"{self.packs_done}/{len(self.plan.packs)} trials{failed}, "
            f"{time.monotonic() - self.began:.0f} s"
        )

    def _show(self) -> None:
        if self.live is not None:
            self.live.update(self._table())
        elif time.monotonic() - self._said_at >= LINE_SECONDS:
            self._said_at = time.monotonic()
            self.console.print(self._count())

    def _table(self) -> Table:
        table = Table(title=self._count(), title_justify="left", expand=False)
        for column in ("trial", "stage", "iterations", "reward (mean ± sd over seeds)"):
            table.add_column(column)
        for row in list(self.rows.values())[-8:]:
            table.add_row(row.pack.name, row.stage, f"{row.step}/{row.steps}", row.reward)
        return table
