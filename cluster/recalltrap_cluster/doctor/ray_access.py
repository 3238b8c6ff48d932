"""Ray: whether a session or a cluster would let this machine in, before one is tried."""

from __future__ import annotations

import os
from collections.abc import Callable

from recalltrap.errors import InputError
from recalltrap_cluster.doctor.findings import Finding, ok, problem, warning
from recalltrap_cluster.joining.address import MODE_VARIABLE, check_address, has_token


def check_authentication(
    address: str = "local",
    token: bool | None = None,
    mode: str | None = None,
    check: Callable[[str], None] = check_address,
) -> Finding:
    """Ray's token authentication: off only where nobody else can come.

    Args:
        address: the cluster to join; `local`: one of our own.
        token: whether there is a token; None: look.
        mode: RAY_AUTH_MODE; None: look.
        check: refuses an address that needs a token without one.
    """
    mode = os.environ.get(MODE_VARIABLE, "") if mode is None else mode
    token = has_token() if token is None else token
    try:
        check(address)
    except InputError as error:
        return problem("authentication", str(error), "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH")
    if mode == "disabled":
        return warning("authentication", "RAY_AUTH_MODE=disabled: whoever reaches Ray runs code",
                       "unset it, unless nobody else uses this machine")  # fmt: skip
    if address == "local":
        return ok("authentication", "Ray is started on loopback, with a token of its own")
    return ok("authentication", "a token is set" if token else "none is needed on this machine")
