"""A display that remembers what it was told."""

from __future__ import annotations

from typing import Any


class RecordingDisplay:
    """What the executor said, in order; `packs` names those of one event."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.stages: list[str] = []

    def begin(self, plan: Any) -> None:
        self.events.append(("begin", plan.study.name))

    def note(self, line: str) -> None:
        self.events.append(("note", line))

    def progress(self, pack: Any, row: dict[str, Any]) -> None:
        self.events.append(("progress", pack.name))
        assert {"stage", "step", "steps"} <= set(row)
        self.stages.append(row["stage"])

    def finished(self, pack: Any) -> None:
        self.events.append(("finished", pack.name))

    def failed(self, pack: Any, message: str) -> None:
        self.events.append(("failed", pack.name))

    def end(self) -> None:
        self.events.append(("end", ""))

    def packs(self, event: str) -> list[str]:
        return sorted(name for kind, name in self.events if kind == event)
