"""Why a trial failed, told from what Ray says of it."""

from __future__ import annotations

from recalltrap.errors import FailureClass, is_out_of_memory
from recalltrap_cluster.ray_internals import NOT_SCHEDULED, WORKER_LOST, last_attempt


def failure_reason(text: str) -> tuple[FailureClass, str, str]:
    """Class, message and log tail of a failed trial, from its `error.txt`.

    An error of a worker of the trial is quoted there. It's text alone: Ray keeps the error as a
    pickle, too, and loading that would run whatever stands in it.
    """
    text = last_attempt(text)
    lines = text.splitlines() or ["the trial ended without a word"]
    tail = "\n".join(lines[-30:])
    if is_out_of_memory(text):
        return "oom", lines[-1], tail
    if WORKER_LOST.search(text):
        return "worker_lost", "the worker process died (killed, or its node was lost)", tail
    if NOT_SCHEDULED.search(text):
        return "scheduling", lines[-1], tail
    return "user_code", lines[-1], tail
