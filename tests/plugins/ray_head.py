"""A head of Ray's that tests join, started as a user would: with a token, on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from toy_processes import MARK, await_nobody, marked_processes

from recalltrap_cluster.ray_internals import CLIENT_SERVER_ENVIRONMENT, LOOPBACK_ENVIRONMENT


@dataclass(frozen=True)
class Head:
    """Where it is joined, and where jobs go."""

    address: str
    client: str
    dashboard: str
    token: str
    mark: str
    """In the environment of all its processes."""

    @property
    def environment(self) -> dict[str, str]:
        """Of whoever joins it, beside the address."""
        return {**LOOPBACK_ENVIRONMENT, "RAY_AUTH_TOKEN": self.token}

    def lose(self) -> None:
        """All of its processes are gone at once."""
        for process in marked_processes(self.mark):
            with contextlib.suppress(psutil.Error):
                process.kill()


@contextlib.contextmanager
def started_head(cores: int = 2) -> Iterator[Head]:
    """One with a token, as `ray start --head` makes it; in the end nothing of it is left.

    Importing this imports Ray, which reads its token then: whoever joins is another process.
    """
    ports = [_free_port() for _ in range(4)]
    found = Head(
        f"127.0.0.1:{ports[0]}", f"ray://127.0.0.1:{ports[1]}", f"http://127.0.0.1:{ports[2]}",
        uuid.uuid4().hex, uuid.uuid4().hex,
    )  # fmt: skip
    folder = tempfile.mkdtemp(prefix="rt-", dir="/tmp")  # short: sockets' names are limited
    program = Path(sys.executable)
    process = subprocess.Popen(
        [
            str(program.with_name("ray")), "start", "--head", "--block",
            "--port", str(ports[0]), "--ray-client-server-port", str(ports[1]),
            "--dashboard-host", "127.0.0.1", "--dashboard-port", str(ports[2]),
            "--dashboard-agent-listen-port", str(ports[3]), "--num-cpus", str(cores),
            "--disable-usage-stats", "--temp-dir", folder,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, MARK: found.mark, "RAY_AUTH_MODE": "token",
             "PATH": f"{program.parent}:{os.environ['PATH']}",
             **found.environment, **CLIENT_SERVER_ENVIRONMENT},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert any("Ray runtime started" in line for line in process.stdout), "ray start ended"
        yield found
    finally:
        process.terminate()
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        await_nobody(found.mark)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
