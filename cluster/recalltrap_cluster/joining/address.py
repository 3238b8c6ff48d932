"""Ray's addresses: which may be joined, checked before Ray is imported or anything is sent."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from recalltrap.errors import InputError
from recalltrap_cluster.joining.trial_join import HINT

MODE_VARIABLE = "RAY_AUTH_MODE"
ANSWER_SECONDS = 5.0
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def resolve_address(address: str) -> str:
    """The address to join, after all checks; `auto` follows RAY_ADDRESS.

    Raises:
        InputError: the address is refused, or nothing answers there.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
    check_address(address)
    _check_answer(address)
    return address


def check_address(address: str) -> None:
    """Refuse an address that isn't ours to use: malformed, or elsewhere without a token.

    Raises:
        InputError: with the reason.
    """
    if address in ("local", "auto"):
        return
    host, _ = _host_and_port(address)
    here = _is_this_machine(host)
    if has_token(here):
        # Ray sends no token to an address that was spelt out, unless it's told to.
        os.environ.setdefault(MODE_VARIABLE, "token")
    elif not here:
        raise InputError(
            f"--address {address} is not on this machine and no authentication token is set, so "
            "anybody could answer or listen there. Set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to "
            "the cluster's token"
        )


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"--address {address}: {error}") from None
    if parts.scheme != "ray" or not host or port is None:
        raise InputError(
            f"--address {address} is not an address of Ray: use local, auto, host:port or "
            "ray://host:port"
        )
    return host, port


def _check_answer(address: str) -> None:
    """Refuse an address where nothing answers; Ray itself would try for minutes."""
    if address in ("local", "auto"):
        return
    try:
        socket.create_connection(_host_and_port(address), ANSWER_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"no Ray cluster could be joined at --address {address}: nothing answers there "
            f"({error}). {HINT}"
        ) from None


def has_token(here: bool = True) -> bool:
    """Whether there is an authentication token for a cluster on this machine, or elsewhere.

    The one that Ray leaves in the home folder is this machine's: it counts elsewhere only where
    RAY_AUTH_MODE says so.
    """
    if any(os.environ.get(name) for name in TOKEN_VARIABLES):
        return True
    own = (Path.home() / ".ray" / "auth_token").is_file()
    return own and (here or os.environ.get(MODE_VARIABLE) == "token")


def _is_this_machine(host: str) -> bool:
    """Loopback, or an address that one of this machine's interfaces has."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return address.is_loopback
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
