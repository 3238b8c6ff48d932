"""Joining a cluster on trial, in a process that can be ended.

Where something answers that isn't a head, or a head that hangs, Ray tries to join for many minutes,
deaf to signals. A process of its own tries first, for so long as `JOIN_VARIABLE` says.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys

from recalltrap.errors import InputError

JOIN_VARIABLE = "RECALLTRAP_JOIN_SECONDS"
JOIN_SECONDS = 60.0
HINT = "Start one with `ray start --head`, or use --address local"
_PROGRAM = """
import logging, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
ray.shutdown()
"""


def try_to_join(address: str) -> None:
    """Join and leave a cluster once; through Ray's client not, which gives up by itself.

    Raises:
        InputError: it can't be joined, or not in time.
    """
    if address == "local" or address.startswith("ray://"):
        return
    seconds = join_seconds()
    trial = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, address],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        _, said = trial.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise InputError(
            f"no Ray cluster could be joined at --address {address} in {seconds:g} seconds: "
            f"whatever answers there isn't a head, or it hangs. {HINT}; {JOIN_VARIABLE} gives it "
            "longer"
        ) from None
    finally:
        _end(trial)
    if trial.returncode:
        lines = said.strip().splitlines() or [f"the attempt ended with {trial.returncode}"]
        raise InputError(f"no Ray cluster could be joined at --address {address}: {lines[-1]}. "
                         f"{HINT}")  # fmt: skip


def join_seconds() -> float:
    """How long joining may take.

    Raises:
        InputError: the environment says what is no positive number.
    """
    said = os.environ.get(JOIN_VARIABLE)
    if not said:
        return JOIN_SECONDS
    with contextlib.suppress(ValueError):
        if 0 < (seconds := float(said)) < math.inf:
            return seconds
    raise InputError(f"{JOIN_VARIABLE} = {said!r} is no number of seconds, such as 60")


def _end(trial: subprocess.Popen[str]) -> None:
    """End the process and all that it started, whatever of it is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(trial.pid, signal.SIGKILL)
    trial.wait()
