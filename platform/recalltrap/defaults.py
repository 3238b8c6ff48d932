"""Defaults that come from the environment."""

from __future__ import annotations

import os

STORAGE_VARIABLE = "RECALLTRAP_STORAGE"


def storage_location(given: str | None) -> str:
    """The storage to use: the one given, else RECALLTRAP_STORAGE, else `runs` here."""
    return given or os.environ.get(STORAGE_VARIABLE) or "runs"
