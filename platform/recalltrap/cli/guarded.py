"""What all commands share in how they end: a message and an exit status, never a traceback.

Exit status: 0 all cells succeeded, 1 some failed or stdout can't be written, 2 the input was
refused, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM). A run under Ray whose cluster is lost
ends with 1, too: what it did stands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from recalltrap.cli.output import say
from recalltrap.errors import InputError, RecalltrapError
from recalltrap.supervision.lifeline import KEPT, LIFELINE

Command = Callable[..., int | None]


def guarded(command: Command) -> Command:
    """Turn what a user can cause into a message and an exit status, never a traceback."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        status = _status(command, *args, **kwargs)
        LIFELINE.end(status)
        sys.exit(status)

    return guarded


def _status(command: Command, *args: Any, **kwargs: Any) -> int:
    """Run a command; its exit status, with the reason on stderr where it isn't the command's."""
    try:
        return command(*args, **kwargs) or 0
    except InputError as error:
        say(f"recalltrap: {error}", error=True)
        return 2
    except RecalltrapError as error:
        say(f"recalltrap: {error}", error=True)
        return 1
    except KeyboardInterrupt:
        say(f"recalltrap: interrupted; {KEPT}", error=True)
        return 130
