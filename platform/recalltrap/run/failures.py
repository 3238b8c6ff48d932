"""Failures are data: rows for the cells that failed, and word for the packs that wait."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from recalltrap.errors import FailureClass, StageError, is_out_of_memory
from recalltrap.graph import Cell, Node
from recalltrap.identity import fingerprint
from recalltrap.kind import NodeFailure
from recalltrap.redaction import redact
from recalltrap.results.table_parts import write_part
from recalltrap.results.tables import conform, table_schema
from recalltrap.run.context import RunContext

LOG_TAIL_LINES = 30
Reason = tuple[FailureClass, str, str]
"""A failure's class, message and log tail."""


def classify(error: BaseException) -> Reason:
    """A failed pack's class, message and log tail."""
    tail = "\n".join("".join(traceback.format_exception(error)).splitlines()[-LOG_TAIL_LINES:])
    if isinstance(error, StageError):
        return error.failure, error.message, tail
    if is_out_of_memory(error):
        return "oom", f"out of memory: {error}", tail
    if isinstance(error, TimeoutError):
        return "timeout", str(error) or "timed out", tail
    return "user_code", f"{type(error).__name__}: {error}", tail


def write_failures(
    context: RunContext,
    cells: Sequence[Cell],
    reasons: Sequence[Reason],
    trial_id: str,
) -> None:
    """Add rows to `failures`: (class, message, log tail) for each cell. Attempts are all kept."""
    count = len(cells)
    data = {
        "cell_id": [cell.id for cell in cells],
        "study": [context.study] * count,
        "ordering": [cell.ordering.name for cell in cells],
        "seed": [cell.seed for cell in cells],
        "attempt": [context.attempts.get(cell.id, 0) + 1 for cell in cells],
        "failure": [failure for failure, _, _ in reasons],
        "message": [redact(message) for _, message, _ in reasons],
        "log_tail": [redact(tail) for _, _, tail in reasons],
        "retry_command": [context.retry_command] * count,
        "failed_at": pa.array([datetime.now(UTC)] * count, pa.timestamp("us", tz="UTC")),
        "trial_id": [trial_id] * count,
    }
    table = conform("failures", data, table_schema("failures"))
    part = fingerprint([data["cell_id"], data["attempt"], trial_id])
    write_part(context.storage, context.run, "failures", part, table)


def write_stage_failure(context: RunContext, failure: NodeFailure, trial_id: str) -> None:
    """Leave word of a failed stage for the packs that wait for it."""
    note = {"failure": failure.failure, "message": redact(failure.message), "trial": trial_id}
    path = _note_path(context, failure.node)
    context.storage.write(path, json.dumps(note).encode())


def read_stage_failure(context: RunContext, node: Node) -> NodeFailure:
    """Why a stage that another pack should have built is not there."""
    note = _read_note(context, node)
    return _told(node, note or {"failure": "worker_lost", "message": "it was never built"})


def given_up(context: RunContext, node: Node, trial_id: str) -> NodeFailure | None:
    """What an earlier attempt of the same trial said of a stage of its own that it gave up."""
    note = _read_note(context, node)
    own = note is not None and note.get("trial") == trial_id
    return _told(node, note) if note is not None and own else None


def stage_notes(context: RunContext) -> frozenset[str]:
    """The names of all that was left of failed stages, of whichever launch."""
    return frozenset(context.storage.list(f"{context.run}/failed_stages"))


def _note_path(context: RunContext, node: Node) -> str:
    return f"{context.run}/failed_stages/{node.id}.json"


def _read_note(context: RunContext, node: Node) -> dict[str, Any] | None:
    try:
        return context.storage.read_mapping(
            _note_path(context, node), "remove it", ("failure", "message")
        )
    except FileNotFoundError:
        return None


def _told(node: Node, note: Mapping[str, Any]) -> NodeFailure:
    text = f"stage {node.stage}, seed {node.seed}: {note['message']}"
    return NodeFailure(node, note["failure"], text)
