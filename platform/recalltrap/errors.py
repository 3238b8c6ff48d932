"""The errors a user can meet, picklable so that they cross Ray's process borders.

`InputError` is a user's mistake and ends a command with status 2; `StageError` is work that
failed while running and becomes a row of the `failures` table.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from typing import Any, Literal

from recalltrap.redaction import redact

FailureClass = Literal["nan", "oom", "worker_lost", "timeout", "user_code", "scheduling"]


class RecalltrapError(Exception):
    """Base of every error this project raises on purpose.

    Subclasses keep their arguments in `args`, which is what pickle sends. No message holds a
    credential, whoever shows it.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*(redact(arg) if isinstance(arg, str) else arg for arg in args))


class InputError(RecalltrapError):
    """The input was refused before anything was written; the message says the way out."""


class StageError(RecalltrapError):
    """Work that failed while running. `args` are (failure class, message)."""

    def __init__(self, failure: FailureClass, message: str) -> None:
        super().__init__(failure, message)
        self.failure: FailureClass = failure
        self.message = redact(message)

    def __str__(self) -> str:
        return self.message


def shown(value: object, length: int = 80) -> str:
    """A value as one line of a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python spells no number of more than 4,300 digits
        text = f"a number of more than {sys.get_int_max_str_digits():,} digits"
    text = " ".join(text.split("\n"))  # an array's lines
    return text if len(text) <= length else f"{text[: length - 4]} ..."


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint naming the closest allowed name, or all of them where none is close."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "allowed: " + ", ".join(repr(n) for n in names)
