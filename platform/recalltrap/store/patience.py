"""Trying again what a storage may do the next time: a network, a busy server, a disk's hiccup."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds before each further try. One write in twenty that fails, fails six times in 6e7."""
_PASSING = frozenset(
    (errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT,
     errno.ECONNRESET, errno.ECONNABORTED, errno.ENETRESET, errno.EPIPE)
)  # fmt: skip
_BUSY = re.compile(
    # what Arrow says of S3, GCS and Azure; their own clients tried several times before
    r"HTTP status (?:408|429|5\d\d)|\b(?:SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|THROTTLING)"
    r"|\b(?:UNAVAILABLE|RESOURCE_EXHAUSTED|DEADLINE_EXCEEDED)\b|\b50[0234] |\b429 "
)


def patiently(act: Callable[[], T]) -> T:
    """What the act returns; tried again after failures that may pass.

    The act must leave things as they were where it fails.

    Raises:
        OSError: the failure can't pass, or didn't.
    """
    for pause in PAUSES:
        try:
            return act()
        except OSError as error:
            if not may_pass(error):
                raise
            time.sleep(pause)
    return act()


def may_pass(error: OSError) -> bool:
    """Whether the same may succeed a moment later: not where it's forbidden, full or not there."""
    if error.errno is not None:
        return error.errno in _PASSING
    return bool(_BUSY.search(str(error)))
