"""What every pack of a run shares, wherever it is executed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recalltrap.store.storage import Storage


@dataclass(frozen=True)
class RunContext:
    """What every pack of a run shares; small and picklable.

    `users` counts, per artifact, the planned cells that use it; `attempts` the earlier failures
    per cell; `time_limits` are minutes by stage.
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
    time_limits: Mapping[str, float] = field(default_factory=dict)
