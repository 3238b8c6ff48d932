"""Amounts in the units that people say them in."""

from __future__ import annotations

DURATIONS = ((172_800, 86_400, "days"), (7_200, 3_600, "hours"), (120, 60, "minutes"))
"""From how many seconds on a unit is said, and how many it has."""
SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))

OPERATIONS = (
    (1e21, "zetta"), (1e18, "exa"), (1e15, "peta"), (1e12, "tera"), (1e9, "giga"), (1e6, "mega"),
)  # fmt: skip


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


def operations(flops: float) -> str:
    """A number of floating-point operations, e.g. ``1.3 exaFLOP``, ``45 teraFLOP``."""
    for unit, name in OPERATIONS:
        if flops >= unit:
            return f"{_short(flops / unit)} {name}FLOP"
    return f"{_short(flops)} FLOP"


def hours(seconds: float) -> str:
    """Hours as they are paid for, e.g. ``0.25``, ``12``, ``1,300``."""
    return _short(seconds / 3600)


def _short(value: float) -> str:
    """Two digits below 10, none behind the point above; never an exponent."""
    if value >= 9.95:
        return f"{value:,.0f}"
    shown = f"{value:.2g}"
    return "less than 0.001" if "e" in shown else shown
