"""A storage without room under Ray: whoever meets it first ends the run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from recalltrap.errors import is_storage_full, storage_full
from recalltrap.run.context import RunContext
from recalltrap.run.execution import record_failure
from recalltrap.run.failures import Reason
from recalltrap.run.plan import Pack


@contextlib.contextmanager
def noticing_full() -> Iterator[None]:
    """Say so where Tune itself found no room, for its state and its logs.

    Raises:
        StorageFullError: it did.
    """
    try:
        yield
    except Exception as error:
        if is_storage_full(str(error)):
            raise storage_full(str(error)) from None
        raise


def recorded(context: RunContext, pack: Pack, reason: Reason, trial_id: str) -> str | None:
    """Record that a pack failed; what to say where there is no room for that either, else None.

    Then that is what it failed for, whatever it said: torch, for one, says of a full disk
    "unexpected pos".
    """
    try:
        record_failure(context, pack, reason, trial_id)
    except Exception as error:
        if not is_storage_full(error):
            raise
        return str(storage_full(error))
    return None


def refuse_full(full: str | None, trials: Sequence[Any]) -> None:
    """Once Tune has ended, in whatever way: nothing failed but for want of room.

    `full` is what a trial said of it, if one did.

    Raises:
        StorageFullError: a trial found none.
    """
    from recalltrap_cluster.ray_internals import error_text

    said = [full, *(error_text(trial) for trial in trials)]
    for text in said:
        if text and is_storage_full(text):
            raise storage_full(text)
