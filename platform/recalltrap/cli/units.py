"""Amounts in the units that people say them in."""

from __future__ import annotations

DURATIONS = ((172_800, 86_400, "days"), (7_200, 3_600, "hours"), (120, 60, "minutes"))
"""From how many seconds on a unit is said, and how many it has."""
SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def duration(seconds: float) -> str:
    """E.g. ``8.8 days``, ``3.5 hours``, ``45 seconds``."""
    for least, unit, name in DURATIONS:
        if seconds >= least:
            return f"{_short(seconds / unit)} {name}"
    return f"{_short(seconds)} seconds"


def size(count: float) -> str:
    """A number of bytes, e.g. ``329 GB``, ``4.2 MB``, ``512 bytes``."""
    for unit, name in SIZES:
        if count >= unit:
            return f"{_short(count / unit)} {name}"
    return f"{_short(count)} bytes"


def _short(value: float) -> str:
    """Two digits below 10, none behind the point above."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
