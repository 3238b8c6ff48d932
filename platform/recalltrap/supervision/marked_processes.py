"""The processes that a run has started, known by a mark in the environment that they inherit."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

MARK = "RECALLTRAP_SUPERVISED"
"""The variable."""
GIVE_UP = 10.0
"""Seconds after which a process that can't be killed is left alone."""


def marked(mark: str) -> Sequence[psutil.Process]:
    """The processes that inherited a mark, but for this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and f"{MARK}={mark}" in _environment(process):
                found.append(process)
    return found


def _environment(process: psutil.Process) -> Sequence[str]:
    """`name=value` of what a process was started with, also behind a title that it has written
    over the beginning, where psutil ends reading."""
    path = Path(f"/proc/{process.pid}/environ")
    if path.exists():
        return path.read_bytes().decode(errors="replace").split("\0")
    return [f"{name}={value}" for name, value in process.environ().items()]


def end_marked(mark: str, patience: float = 0.0) -> None:
    """End all that a supervised process started and left, after so many seconds of patience."""
    deadline = time.monotonic() + patience
    while left := marked(mark):
        if time.monotonic() >= deadline:
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        time.sleep(0.1)
        if time.monotonic() > deadline + GIVE_UP:
            return
