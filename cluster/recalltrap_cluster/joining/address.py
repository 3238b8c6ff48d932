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
    _check_token(address, _host_and_port(address)[0])


def check_jobs_address(address: str) -> str:
    """The address of a cluster's dashboard, where jobs are sent, after all checks.

    Raises:
        InputError: it isn't ours to use, or nothing answers there.
    """
    host, port = _dashboard(address)
    _check_token(address, host)
    try:
        socket.create_connection((host, port), ANSWER_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"--address {address} is where nothing answers ({error}). Give the dashboard of a "
            "cluster's head, such as http://127.0.0.1:8265 (`ray start --head` prints it)"
        ) from None
    return address.rstrip("/")


def is_sent_openly(address: str) -> bool:
    """Whether a token that goes to a dashboard can be read on the way."""
    return address.lower().startswith("http:") and not is_this_machine(_dashboard(address)[0])


def _dashboard(address: str) -> tuple[str, int]:
    """Host and port of an http(s) address without credentials, query or fragment."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"--address: {error}") from None
    if "@" in parts.netloc:
        raise InputError(
            "--address holds a user or a password, which a shell's history keeps: leave them out, "
            "and set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"
        )
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise InputError(
            f"--address {address} is not where jobs are sent: give the head's dashboard as "
            "http://HEAD:8265 or https://HEAD. With ray://HEAD:10001 or auto it is "
            "`recalltrap run --address`"
        )
    return host, port or (443 if parts.scheme == "https" else 80)


def _check_token(address: str, host: str) -> None:
    """See that a token is sent where there is one, and that there is one beyond this machine."""
    here = is_this_machine(host)
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
    if parts.scheme in ("http", "https"):
        raise InputError(
            f"--address {address} is a dashboard, which takes jobs: `recalltrap submit STUDY "
            "--address` sends one there. To join a cluster use auto, HEAD:6379 or ray://HEAD:10001"
        )
    if parts.scheme != "ray" or not host or port is None:
        raise InputError(
            f"--address {address} is not an address of Ray: use local, auto, HEAD:6379 or "
            "ray://HEAD:10001"
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


def is_this_machine(host: str) -> bool:
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
