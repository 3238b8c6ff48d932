"""What the workers of a group say to the process that drives them: an actor of the run keeps it.

Word of progress and failure goes this way because reports of Ray Train wait for all workers, and
its results hold no metrics without a checkpoint.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ray

from recalltrap.kind import Progress
from recalltrap.run.failures import Reason
from recalltrap.supervision.stage_clock import check_time
from recalltrap_cluster.trainable import REPORT_SECONDS


@dataclass
class Mailbox:
    """What the workers of every trial have said and not been asked for yet; a Ray actor."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, Reason] = field(default_factory=dict)
    placements: dict[str, Any] = field(default_factory=dict)

    def begin(self, trial_id: str) -> None:
        """An attempt begins: what an earlier one said no longer counts."""
        self.rows.pop(trial_id, None)
        self.reasons.pop(trial_id, None)

    def report(self, trial_id: str, row: dict[str, Any]) -> None:
        """Progress; the latest counts."""
        self.rows[trial_id] = row

    def fail(self, trial_id: str, reason: Reason) -> None:
        """What broke; the first to say so is the one where it broke."""
        self.reasons.setdefault(trial_id, reason)

    def hold_placement(self, trial_id: str, placement: Any) -> None:
        """The placement group that the trial's workers stand in."""
        self.placements[trial_id] = placement

    def take_row(self, trial_id: str) -> dict[str, Any] | None:
        return self.rows.pop(trial_id, None)

    def take_reason(self, trial_id: str) -> Reason | None:
        return self.reasons.pop(trial_id, None)

    def take_placement(self, trial_id: str) -> Any:
        return self.placements.pop(trial_id, None)


def open_mailbox() -> Any:
    """A mailbox for a run's trials, as an actor that takes no core."""
    return ray.remote(num_cpus=0)(Mailbox).remote()


def free_placement(mailbox: Any, trial_id: str) -> None:
    """Give back what the workers of a lost trial held: Ray keeps it until the session ends."""
    placement = ray.get(mailbox.take_placement.remote(trial_id))
    if placement is not None:
        ray.util.remove_placement_group(placement)


@dataclass
class Reporter:
    """Posts the first worker's progress, one row in REPORT_SECONDS at most."""

    mailbox: Any
    trial_id: str
    rank: int
    last: dict[str, Any] = field(default_factory=dict)
    _due: float = 0.0

    def report(self, progress: Progress) -> None:
        check_time()
        row = {"stage": progress.stage, "step": progress.step, "steps": progress.steps}
        metrics = {name: float(value) for name, value in progress.metrics.items()}
        self.last = {**metrics, **row}
        if self.rank == 0 and time.monotonic() >= self._due:
            self._due = time.monotonic() + REPORT_SECONDS
            self.mailbox.report.remote(self.trial_id, self.last)
