"""What a worker last wrote, of which nothing is left but its log: Ray keeps one per process."""

from __future__ import annotations

from pathlib import Path

import ray

from recalltrap_cluster.faults.ray_processes import (
    died_processes,
    logs_folder,
    node_at,
    on_node,
    own_ip,
)

LINES, BYTES = 20, 8192
"""Of each process at most."""
READ_SECONDS = 10.0
"""How long another node may take to send them."""


def log_tails(text: str) -> str:
    """The last lines of the logs of those that died, as an `error.txt` names them; one line where
    a log can't be had, nothing where nobody is named."""
    dead = dict.fromkeys(died_processes(text))
    return "\n".join(f"-- the log of process {pid}:\n{_tail(ip, pid)}" for ip, pid in dead)


def _tail(ip: str, pid: int) -> str:
    if ip == own_ip():
        return read_tail(pid)
    node = node_at(ip)
    if node is None:
        return f"(its node {ip} is gone, and its log with it)"
    read = ray.remote(num_cpus=0, scheduling_strategy=on_node(node))(read_tail)
    try:
        return str(ray.get(read.remote(pid), timeout=READ_SECONDS))
    except ray.exceptions.RayError as error:
        return f"(its log can't be read: {type(error).__name__})"


def read_tail(pid: int) -> str:
    """What a process of this node last wrote to stdout and stderr."""
    said = []
    for path in sorted(Path(logs_folder()).glob(f"worker-*-{pid}.*")):
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - BYTES, 0))
            lines = file.read().decode(errors="replace").splitlines()
        said += [line for line in lines if not line.startswith(":")][-LINES:]  # Ray's own marks
    return "\n".join(said) or "(it wrote nothing)"
