"""What becomes of packs whose trials could not say for themselves why they failed."""

from __future__ import annotations

from collections.abc import Sequence

from recalltrap.run.context import RunContext
from recalltrap.run.display import Display
from recalltrap.run.execution import record_failure
from recalltrap.run.failures import Reason, given_up
from recalltrap.run.plan import Pack
from recalltrap_cluster.failure_reasons import failure_reason
from recalltrap_cluster.faults.log_tails import log_tails


def record_lost(context: RunContext, pack: Pack, trial_id: str, text: str) -> None:
    """Record a trial that Tune gave up on, from its `error.txt` and the logs of who died."""
    reason = _given_up(context, pack, trial_id) or failure_reason(text)
    if said := log_tails(text):
        reason = (*reason[:2], f"{reason[2]}\n{said}")
    record_failure(context, pack, reason, trial_id)


def record_never_started(
    context: RunContext, packs: Sequence[Pack], message: str, display: Display
) -> None:
    """Record packs that never got a place."""
    for pack in packs:
        record_failure(context, pack, ("scheduling", message, ""), "never started")
        display.failed(pack, message)


def _given_up(context: RunContext, pack: Pack, trial_id: str) -> Reason | None:
    """What the trial said of a stage that hung, before it ended itself."""
    for node in pack.nodes:
        if (told := given_up(context, node, trial_id)) is not None and told.failure == "timeout":
            return told.failure, told.message, ""
    return None
