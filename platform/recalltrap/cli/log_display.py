"""A run's progress as a structured log: a line of JSON per event, with the cells' ids."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from recalltrap.logs.lines import log_line, named_cells
from recalltrap.run.display import extent_of
from recalltrap.run.plan import Pack, Plan

REPEAT_SECONDS = 15.0
"""A trial's progress inside a stage is told so often at most: a log of days stays readable."""
EVENTS = BEGIN, NOTE, PROGRESS, FINISHED, FAILED, END = (
    "begin",
    "note", "progress", "finished", "failed", "end",
)  # fmt: skip


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class LogDisplay:
    """Tells what a progress table shows. Of a shared stage, the cells that wait for it."""

    def __init__(self, write: Callable[[str], None] = _to_stderr) -> None:
        self.write = write
        self._told: dict[str, tuple[str, float]] = {}
        self._waiting: dict[str, Sequence[str]] = {}

    def begin(self, plan: Plan) -> None:
        self._waiting = _waiting_cells(plan)
        self._tell(BEGIN, **asdict(extent_of(plan)))

    def note(self, line: str) -> None:
        self._tell(NOTE, message=line)

    def progress(self, pack: Pack, row: dict[str, Any]) -> None:
        stage, told_at = self._told.get(pack.id, ("", 0.0))
        now = time.monotonic()
        if row["stage"] == stage and now - told_at < REPEAT_SECONDS:
            return
        self._told[pack.id] = (row["stage"], now)
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        self._tell(PROGRESS, pack, stage=row["stage"], **numbers)

    def finished(self, pack: Pack) -> None:
        self._tell(FINISHED, pack)

    def failed(self, pack: Pack, message: str) -> None:
        self._tell(FAILED, pack, message=message)

    def end(self) -> None:
        self._tell(END)

    def _tell(self, event: str, pack: Pack | None = None, **fields: Any) -> None:
        about = {} if pack is None else self._about(pack)
        self.write(log_line(event, **about, **fields))

    def _about(self, pack: Pack) -> dict[str, Any]:
        ids = [cell.id for cell in pack.cells] or self._waiting.get(pack.id, [])
        return {
            "trial": pack.name, "pack": pack.id, "shared": not pack.cells, **named_cells(ids),
        }  # fmt: skip


def _waiting_cells(plan: Plan) -> dict[str, Sequence[str]]:
    """By shared pack, the cells that are made from what it builds."""
    builder = {node.id: pack.id for pack in plan.packs if not pack.cells for node in pack.nodes}
    found: dict[str, dict[str, None]] = {}
    for cell in plan.todo if builder else ():
        for node in cell.nodes:
            if node.id in builder:
                found.setdefault(builder[node.id], {})[cell.id] = None
    return {pack: list(cells) for pack, cells in found.items()}
