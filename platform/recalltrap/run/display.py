"""Live progress of a run: a table on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from recalltrap.pace import Pace
from recalltrap.redaction import redact
from recalltrap.run.look_studies import look_title
from recalltrap.run.plan import Pack, Plan
from recalltrap.units import duration

LINE_SECONDS, MOST_LINE_SECONDS = 5.0, 60.0
"""Between two plain lines: a run of days says less often how far it is than one of minutes."""
LINES_OF_A_RUN = 60
"""A run's lines come so many times in its length so far at most, within those bounds."""
NAMED_IN_A_LINE = 3
"""Trials that a plain line says the stages of."""


class Display(Protocol):
    """What an executor tells whoever is watching."""

    def begin(self, plan: Plan) -> None: ...
    def note(self, line: str) -> None:
        """Something that the user should know of where it runs."""
        ...

    def progress(self, pack: Pack, row: dict[str, Any]) -> None:
        """A chunk is done; `row` holds stage, step, steps and the chunk's metrics."""
        ...

    def finished(self, pack: Pack) -> None: ...
    def failed(self, pack: Pack, message: str) -> None: ...
    def end(self) -> None: ...


class Silent:
    """For Python callers."""

    def begin(self, plan: Plan) -> None: ...
    def note(self, line: str) -> None: ...
    def progress(self, pack: Pack, row: dict[str, Any]) -> None: ...
    def finished(self, pack: Pack) -> None: ...
    def failed(self, pack: Pack, message: str) -> None: ...
    def end(self) -> None: ...


class Work(Protocol):
    """What a display needs to know of a trial: a `Pack`, or word of one from elsewhere."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def cells(self) -> Sized: ...


@dataclass(frozen=True)
class Extent:
    """How much a run has to do; plain values, so that they can be sent to whoever watches."""

    title: str
    cells: int
    done_before: int
    to_do: int
    trials: int
    from_store: int
    notes: tuple[str, ...] = ()
    whole: str = "study"
    """What is done when there is nothing to do: the study, or one look at it."""

    def lines(self) -> list[str]:
        """What stands above the progress: the size of the work, and notes on it."""
        return [
            f"{self.title}: {self.cells} cells, {self.done_before} done before, "
            f"{self.to_do} to do in {self.trials} trials; {self.from_store} stages from the store",
            *(f"note: {note}" for note in self.notes),
        ]


def extent_of(plan: Plan) -> Extent:
    """How much a plan has to do."""
    look = look_title(plan.study)
    return Extent(
        title=f"{plan.study.name}, {look}" if look else plan.study.name,
        cells=len(plan.cells),
        done_before=len(plan.done),
        to_do=len(plan.todo),
        trials=len(plan.packs),
        from_store=len(plan.cached),
        notes=plan.notes,
        whole="look" if plan.study.looks else "study",
    )


@dataclass
class _Row:
    pack: Work
    pace: Pace = field(default_factory=Pace)
    reward: str = ""

    @property
    def done(self) -> str:
        """Its stage's steps; nothing of one that counts none."""
        return f"{self.pace.step}/{self.pace.steps}" if self.pace.steps else ""


class Progress:
    """Counts a run's cells and trials and knows those in flight; a subclass shows them."""

    first_line: ClassVar[float] = 0.0
    """Seconds before the first plain line is due."""

    def begin(self, plan: Plan) -> None:
        """Count from nothing: a study that is run until it is decided begins at every look."""
        self.start(extent_of(plan))

    def start(self, extent: Extent) -> None:
        """Count from nothing up to here."""
        self.rows: dict[str, _Row] = {}
        self.cells_done = self.packs_done = self.packs_failed = 0
        self.extent = extent
        self.began = time.monotonic()
        self._due = self.began + self.first_line

    def note(self, line: str) -> None:
        self.say(f"note: {line}")

    def progress(self, pack: Work, row: dict[str, Any]) -> None:
        entry = self.rows.setdefault(pack.id, _Row(pack))
        entry.pace.see(row["stage"], row["step"], row["steps"])
        if "reward_mean" in row:
            entry.reward = f"{row['reward_mean']:.2f} ± {row.get('reward_sd', 0.0):.2f}"
        self.show()

    def finished(self, pack: Work) -> None:
        self.rows.pop(pack.id, None)
        self.packs_done += 1
        self.cells_done += len(pack.cells)
        self.show()

    def failed(self, pack: Work, message: str) -> None:
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

    def count(self) -> str:
        """How far it is, in a line."""
        extent = self.extent
        if not extent.to_do and not extent.trials:
            return f"nothing to do: every cell of the {extent.whole} is done"
        failed = f", {self.packs_failed} failed" if self.packs_failed else ""
        return (
            f"{self.cells_done}/{extent.to_do} cells, "
            f"{self.packs_done}/{extent.trials} trials{failed}, "
            f"{duration(time.monotonic() - self.began)}"
        )

    def in_flight(self) -> list[dict[str, str]]:
        """The latest trials at work, as rows."""
        return [
            {
                "trial": row.pack.name,
                "stage": row.pace.stage,
                "steps": row.done,
                "left": row.pace.left(),
                "reward (mean ± sd over seeds)": row.reward,
            }
            for row in list(self.rows.values())[-8:]
        ]

    def line(self) -> str:
        """How far it is, and the latest trials' stages with what they still take."""
        shown = [self.count()]
        for row in list(self.rows.values())[-NAMED_IN_A_LINE:]:
            left = f", {row.pace.left()} left" if row.pace.left() else ""
            shown.append(f"{row.pack.name}: {row.pace.stage} {row.done}".rstrip() + left)
        return "; ".join(shown)

    def line_is_due(self) -> bool:
        """Whether it is time for a plain line; then the next one is due later."""
        now = time.monotonic()
        if now < self._due:
            return False
        pause = (now - self.began) / LINES_OF_A_RUN
        self._due = now + min(max(pause, LINE_SECONDS), MOST_LINE_SECONDS)
        return True


class ProgressTable(Progress):
    """For a terminal: a table drawn in place, else a line now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.console = Console(file=stream or sys.stderr)
        self.live: Live | None

    def begin(self, plan: Plan) -> None:
        super().begin(plan)
        self._open()

    def watch(self, extent: Extent) -> None:
        """Begin with what is told of a run elsewhere."""
        self.start(extent)
        self._open()

    def _open(self) -> None:
        self.live = None
        for line in self.extent.lines():
            self.say(line)
        if self.console.is_terminal and self.extent.trials:
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
        elif self.line_is_due():
            self.say(self.line())

    def _table(self) -> Table:
        table = Table(title=self.count(), title_justify="left", expand=False)
        for column in ("trial", "stage", "steps", "left", "reward (mean ± sd over seeds)"):
            table.add_column(column)
        for row in self.in_flight():
            table.add_row(*map(Text, row.values()))
        return table
