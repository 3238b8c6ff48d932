"""Defaults that come from the environment."""

from __future__ import annotations

import os

from recalltrap.paths import Pathish, resolve

STORAGE_VARIABLE = "RECALLTRAP_STORAGE"


def storage_location(given: Pathish | None) -> str:
    """The storage to use: the one given, else RECALLTRAP_STORAGE, else `runs` here; resolved.

    Raises:
        InputError: what was given is no path; see `recalltrap.paths`.
    """
    if given is not None:
        return resolve(given, "--storage")
    variable = os.environ.get(STORAGE_VARIABLE)
    return resolve(variable, STORAGE_VARIABLE) if variable else resolve("runs", "--storage")
