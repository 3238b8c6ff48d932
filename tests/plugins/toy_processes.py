"""The command line as a process of its own, and who of its descendants is still there."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

MARK = "RECALLTRAP_TEST_MARK"
ENDING_SECONDS = 20.0
RAY_SERVERS = {"gcs_server", "raylet"}
"""What Ray's own servers are called among the processes of a session."""
TUNE_FUNCTION = "ImplicitFunc"
"""The class that Tune makes of a function, in the name of the process that drives its trial."""


def processes_with(mark: str) -> list[str]:
    """Command lines of the processes that inherited a mark in their environment."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # it ended while we looked, or is another user's
    return [line for line in found if line]


def listening(mark: str) -> list[str]:
    """`address port command` of every TCP socket that those processes listen on."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for process in psutil.process_iter():
        try:
            if wanted in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                found += [
                    f"{socket.laddr.ip} {socket.laddr.port} {process.name()}"
                    for socket in process.net_connections("tcp")
                    if socket.status == psutil.CONN_LISTEN
                ]
        except (OSError, psutil.Error):
            continue  # see above
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
