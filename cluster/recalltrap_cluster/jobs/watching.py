"""A job's log as it comes, and the progress that it tells, shown as that of a run here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recalltrap.cli import log_display
from recalltrap.run.display import Extent, ProgressTable


@dataclass(frozen=True)
class RemoteTrial:
    """A trial as a job's log names it."""

    id: str
    name: str
    cells: range


class Lines:
    """Cuts text that comes in pieces into lines."""

    def __init__(self, each: Callable[[str], None]) -> None:
        self.each = each
        self._rest = ""

    def feed(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self.each(line)

    def end(self) -> None:
        if self._rest:
            self.each(self._rest)


class JobTable:
    """Shows a job's log: its events in a live table, what else it says as it stands."""

    def __init__(self, table: ProgressTable, say: Callable[[str], None]) -> None:
        self.table = table
        self.say = say
        self.begun = False

    def line(self, line: str) -> None:
        """One line of the job's log."""
        event = parse_event(line)
        if event is None:
            self.say(line)
            return
        what = event["event"]
        if what == log_display.BEGIN:
            self.close()
            self.begun = True
            self.table.watch(_extent(event))
        elif self.begun and what == log_display.NOTE:
            self.table.note(str(event.get("message")))
        elif self.begun and what in (log_display.FAILED, log_display.FINISHED):
            self._ended(event)
        elif self.begun and what == log_display.PROGRESS:
            self.table.progress(_trial(event), event)
        elif what == log_display.END:
            self.close()

    def _ended(self, event: dict[str, Any]) -> None:
        if event["event"] == log_display.FINISHED:
            self.table.finished(_trial(event))
        else:
            self.table.failed(_trial(event), str(event.get("message") or "no reason was given"))

    def close(self) -> None:
        """The table stays as it is."""
        if self.begun:
            self.begun = False
            self.table.end()


def parse_event(line: str) -> dict[str, Any] | None:
    """What a line of a job's log tells of its progress; None where it is no such line."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
        known = event["event"] in log_display.EVENTS
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return event if known else None


def _trial(event: dict[str, Any]) -> RemoteTrial:
    count = int(event.get("cells_in_all", len(event["cells"])))
    return RemoteTrial(event["pack"], event["trial"], range(0 if event["shared"] else count))


def _extent(event: dict[str, Any]) -> Extent:
    return Extent(**{name: event[name] for name in Extent.__dataclass_fields__})
