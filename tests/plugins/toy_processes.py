"""The command line as a process of its own, and who of its descendants is still there."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

MARK = "RECALLTRAP_TEST_MARK"
ENDING_SECONDS = 20.0
RAY_SERVERS = {"gcs_server", "raylet"}
"""What Ray's own servers are called among the processes of a session."""
TUNE_FUNCTION = "ImplicitFunc"
"""The class that Tune makes of a function, in the name of the process that drives its trial."""


def marked_processes(mark: str) -> Iterator[psutil.Process]:
    """The processes that inherited a mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    for process in psutil.process_iter():
        # It may end while we look, or be another user's.
        with contextlib.suppress(psutil.Error, OSError):
            if wanted in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                yield process


def processes_with(mark: str) -> list[str]:
    """Their command lines."""
    found = []
    for process in marked_processes(mark):
        with contextlib.suppress(psutil.Error, OSError):
            found.append(Path(f"/proc/{process.pid}/cmdline").read_text().replace("\0", " "))
    return [line for line in found if line]


def named(mark: str, name: str) -> list[psutil.Process]:
    """Those of them that are called so, or were started with it as a word of the command."""
    found = []
    for process in marked_processes(mark):
        with contextlib.suppress(psutil.Error):
            if name in (process.name(), *process.cmdline()):
                found.append(process)
    return found


def listening(mark: str) -> list[str]:
    """`address port command` of every TCP socket that those processes listen on."""
    found = []
    for process in marked_processes(mark):
        with contextlib.suppress(psutil.Error, OSError):
            found += [
                f"{socket.laddr.ip} {socket.laddr.port} {process.name()}"
                for socket in process.net_connections("tcp")
                if socket.status == psutil.CONN_LISTEN
            ]
    return found


def is_loopback(socket: str) -> bool:
    """Whether one of those is reached from this machine alone; IPv4 may be written as IPv6."""
    address = ipaddress.ip_address(socket.split()[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def await_nobody(mark: str) -> None:
    deadline = time.monotonic() + ENDING_SECONDS
    while left := processes_with(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def start(mark: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`recalltrap ...` as a shell starts it: in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "recalltrap.cli.command_line", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, MARK: mark, **environment},
    )  # fmt: skip
