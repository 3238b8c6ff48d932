"""The process on the head that serves one client: it can be gone while all else answers.

The client server, where the client is connected, then goes on answering, and Ray's client asks it
again and again, for ever and without a word.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import ray

from recalltrap.supervision.lifeline import LIFELINE
from recalltrap_cluster.ray_internals import is_client

ASK_SECONDS, SILENT_SECONDS = 1.0, 12.0
"""Between two questions; without an answer, until it counts as lost."""


@contextlib.contextmanager
def hearing_of_server() -> Iterator[None]:
    """Meanwhile the supervisor knows whether this client's server answers; else nothing."""
    if not is_client():
        yield
        return
    over = threading.Event()
    with LIFELINE.hearing_of("its server for this client", SILENT_SECONDS) as heard:
        threading.Thread(target=_ask, args=(heard, over), daemon=True).start()
        try:
            yield
        finally:
            over.set()


def _ask(heard: Callable[[], None], over: threading.Event) -> None:
    while not over.wait(ASK_SECONDS):
        try:
            ray.cluster_resources()  # type: ignore[no-untyped-call]
        except Exception:  # whatever it is, the work meets it as well
            return
        heard()
