"""Joining or starting Ray, and leaving it as it was found."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping

from recalltrap.errors import InputError
from recalltrap.supervision.lifeline import LIFELINE, keep_terminating_handled
from recalltrap_cluster.joining.address import resolve_address
from recalltrap_cluster.joining.trial_join import HINT, try_to_join
from recalltrap_cluster.placement.requests import count_in


def has_session() -> bool:
    """Whether this process has a Ray of its caller's, which is used whatever the address."""
    loaded = sys.modules.get("ray")
    return loaded is not None and bool(loaded.is_initialized())


@contextlib.contextmanager
def ray_session(address: str) -> Iterator[str | None]:
    """Ray for the duration: a local one of our own, a cluster's, or the caller's own session.

    Args:
        address: `local` starts Ray on this machine, without its dashboard and reached from this
            machine alone; `auto` and `ray://...` join a cluster.

    Yields:
        Where Ray's dashboard is, None without one.

    Raises:
        InputError: the address is refused or nothing answers there.
    """
    joined = has_session()
    if not joined:  # before the import: Ray reads then whether it shall send a token
        address = resolve_address(address)
        try_to_join(address)
    with _without_advice():
        import ray

        from recalltrap_cluster.faults.client_server import hearing_of_server
        from recalltrap_cluster.faults.ray_processes import cluster_doors, no_dumps
        from recalltrap_cluster.ray_internals import (
            SESSION_ENVIRONMENT,
            loopback_only,
            quiet_client,
            set_environment,
        )

    set_environment(SESSION_ENVIRONMENT)
    if joined:
        yield None  # a notebook's session: used as it is, and left running
        return
    own = address == "local"
    try:
        with loopback_only() if own else contextlib.nullcontext():
            context = ray.init(
                address=address,
                include_dashboard=False if own else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except Exception as error:  # also bare ones, where a busy machine took too long to start it
        said = str(error).strip().splitlines() or [type(error).__name__]
        reason = said[0] if len(said) == 1 else f"{said[0]} {said[-1]}"  # a quoted traceback's end
        failed = "Ray could not be started" if own else "no Ray cluster could be joined"
        hint = "Run it again when the machine is less busy, or use --local" if own else HINT
        raise InputError(f"{failed} at --address {address}: {reason}. {hint}") from None
    quiet_client()
    keep_terminating_handled()
    LIFELINE.depend_on(cluster_doors(address))
    try:
        with no_dumps(), hearing_of_server():
            yield f"http://{context.dashboard_url}" if context.dashboard_url else None
    finally:
        LIFELINE.depend_on(())
        ray.shutdown()


WIDGETS_LOGGER = "ray.widgets.util"
"""Of Ray's own names one that must be known before Ray is imported."""


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Ray's import in a notebook, without its and tqdm's advice to install ipywidgets: nothing of
    ours is shown with them."""
    logging.getLogger(WIDGETS_LOGGER).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield


def starting_slots(each: Mapping[str, float]) -> int:
    """How many trials could start now, where Ray is this machine alone; 0 where it isn't."""
    import ray

    from recalltrap_cluster.ray_internals import is_client
    from recalltrap_cluster.ray_nodes import live_nodes

    alone = [node.host for node in live_nodes()] == [socket.gethostname()]
    if not alone or is_client():
        return 0
    return count_in(ray.available_resources(), each)  # type: ignore[no-untyped-call]
