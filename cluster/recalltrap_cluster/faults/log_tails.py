"""What a worker last wrote, of which nothing is left but its log: Ray keeps one per process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ray

from recalltrap_cluster.faults.ray_processes import logs_folder, node_at, on_node, own_ip

LINES, BYTES = 20, 8192
"""Of each process at most."""
READ_SECONDS = 10.0
"""How long another node may take to send them."""


@dataclass(frozen=True)
class Process:
    """A process of a run: what it was, and where."""

    name: str
    ip: str
    pid: int


def this_process(name: str) -> Process:
    """The one that asks."""
    return Process(name, own_ip(), os.getpid())


def log_tails(processes: Sequence[Process]) -> str:
    """The last lines of each process's log under its name; one line where they can't be had."""
    return "\n".join(f"-- {each.name} (pid {each.pid}):\n{_tail(each)}" for each in processes)


def _tail(process: Process) -> str:
    if process.ip == own_ip():
        return read_tail(process.pid)
    node = node_at(process.ip)
    if node is None:
        return f"(its node {process.ip} is gone, and its log with it)"
    read = ray.remote(num_cpus=0, scheduling_strategy=on_node(node))(read_tail)
    try:
        return str(ray.get(read.remote(process.pid), timeout=READ_SECONDS))
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
