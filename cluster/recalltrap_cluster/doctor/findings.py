"""What a check finds: one line, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, what was seen there, and what to do; "" where nothing is."""

    check: str
    state: State
    found: str
    advice: str = ""

    def row(self) -> dict[str, str]:
        """The finding as a row of a table."""
        return {"check": self.check, "state": self.state, "found": self.found,
                "what to do": self.advice}  # fmt: skip


def ok(check: str, found: str) -> Finding:
    return Finding(check, "ok", found)


def warning(check: str, found: str, advice: str) -> Finding:
    return Finding(check, "warning", found, advice)


def problem(check: str, found: str, advice: str) -> Finding:
    return Finding(check, "problem", found, advice)
