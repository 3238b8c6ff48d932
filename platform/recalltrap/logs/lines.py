"""A line of a structured log: who asks for them, and what stands in one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from recalltrap.errors import InputError
from recalltrap.redaction import redact

LOG_VARIABLE = "RECALLTRAP_LOG"
FORMS = ("table", "json")
MOST_CELLS = 32
"""Of a line; a trial of more says how many it has."""


def json_wanted() -> bool:
    """Whether logs are to be structured, as `run --log` or the environment says.

    Raises:
        InputError: the environment says neither `table` nor `json`.
    """
    form = os.environ.get(LOG_VARIABLE) or FORMS[0]
    if form not in FORMS:
        raise InputError(f"{LOG_VARIABLE} = {form!r}: write one of {', '.join(FORMS)}")
    return form == "json"


def log_line(event: str, **fields: Any) -> str:
    """One line of JSON: time, event, fields. No text in it holds a credential."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, "event": event, **_told(fields)}, ensure_ascii=False)


def named_cells(ids: Sequence[str]) -> dict[str, Any]:
    """The fields that say which cells a line is about."""
    if len(ids) <= MOST_CELLS:
        return {"cells": list(ids)}
    return {"cells": list(ids[:MOST_CELLS]), "cells_in_all": len(ids)}


def _told(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: redact(value) if isinstance(value, str) else value for name, value in fields.items()
    }
