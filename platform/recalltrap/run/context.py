"""What every pack of a run shares, wherever it is executed."""

from __future__ import annotations

from dataclasses import dataclass

from recalltrap.store.storage import Storage


@dataclass(frozen=True)
class RunContext:
    """What every pack of a run shares; small and picklable.

    `users` counts, per artifact, the planned cells that use it; `attempts` the earlier failures
    per cell.
    """

    storage: Storage
    run: str
    study: str
    kind: str
    users: dict[str, int]
    attempts: dict[str, int]
    retry_command: str
    json_logs: bool = False
    """Whether what is logged where packs are executed is structured (`recalltrap.logs`)."""
