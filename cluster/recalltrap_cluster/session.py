"""Joining or starting Ray, and leaving it as it was found."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray

from recalltrap.errors import InputError

TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@contextlib.contextmanager
def ray_session(address: str) -> Iterator[None]:
    """Ray for the duration: a local one of our own, a cluster's, or the caller's own session.

    Args:
        address: `local` starts Ray on this machine without its dashboard; `auto` and `ray://...`
            join a cluster.

    Raises:
        InputError: the address is refused or nothing answers there.
    """
    if ray.is_initialized():
        yield  # a notebook's session: used as it is, and left running
        return
    check_address(address)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"no Ray cluster could be joined at --address {address}: {first}. "
            "Start one with `ray start --head`, or use --address local"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Refuse an address that isn't ours to use: malformed, or beyond loopback without a token.

    Raises:
        InputError: with the reason.
    """
    if address in ("local", "auto"):
        return
    text = address if "://" in address else f"ray://{address}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"--address {address}: {error}") from None
    if parts.scheme != "ray" or not host or port is None:
        raise InputError(
            f"--address {address} is not an address of Ray: use local, auto, host:port or "
            "ray://host:port"
        )
    if not _is_loopback(host) and not has_token():
        raise InputError(
            f"--address {address} is not on this machine and no authentication token is set, so "
            "anybody could answer or listen there. Set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to "
            "the cluster's token"
        )


def has_token() -> bool:
    """Whether Ray would find an authentication token."""
    if any(os.environ.get(name) for name in TOKEN_VARIABLES):
        return True
    return (Path.home() / ".ray" / "auth_token").is_file()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def node_resources() -> list[dict[str, float]]:
    """The resources of every live node of the joined cluster."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [dict(node["Resources"]) for node in nodes if node["Alive"]]
