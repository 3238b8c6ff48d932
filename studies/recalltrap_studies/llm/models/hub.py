"""The model hub: whether it answers, asked once and briefly.

Its own client tries six times, with pauses that grow, for every single file that it looks for:
a minute for a machine without a network. So nobody asks it for a model before it has answered
here; where it doesn't, what is cached on this machine is all there is.
"""

from __future__ import annotations

import threading
import time

ANSWER_SECONDS = 5.0
REMEMBERED_SECONDS = 60.0
"""How long an answer, or its absence, counts: a study looks for several models in a row."""
_LOCK = threading.Lock()
_last: list[tuple[float, str | None]] = []


def fault() -> str | None:
    """Why the hub can't be asked now; None where it can."""
    from huggingface_hub import constants

    with _LOCK:
        if constants.HF_HUB_OFFLINE:
            _last[:] = [(time.monotonic(), "HF_HUB_OFFLINE is set, and it isn't cached here")]
        elif not _last or time.monotonic() - _last[0][0] > REMEMBERED_SECONDS:
            _last[:] = [(time.monotonic(), _ask(constants.ENDPOINT))]
        return _last[0][1]


def last_fault() -> str | None:
    """What `fault` said last, without asking anybody."""
    return _last[0][1] if _last else None


def forget() -> None:
    """Ask again the next time."""
    _last.clear()


def _ask(endpoint: str) -> str | None:
    from huggingface_hub import get_session

    try:
        status = get_session().head(endpoint, timeout=ANSWER_SECONDS).status_code
    except Exception as error:  # whatever a proxy, a resolver or a certificate does to it
        words = str(error).strip().splitlines()
        reason = words[0] if words else type(error).__name__
    else:
        if status < 500 and status != 429:
            return None
        reason = f"status {status}"
    return f"{endpoint} doesn't answer ({reason}), and it isn't cached here"
