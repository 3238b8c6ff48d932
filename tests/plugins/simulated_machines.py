"""A cluster of several machines, all of them this one: they come, leave in peace and are lost."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from ray.cluster_utils import Cluster
from toy_processes import MARK, marked_processes, processes_with

from recalltrap_cluster.ray_internals import LOOPBACK_ENVIRONMENT, loopback_only

ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", **LOOPBACK_ENVIRONMENT}
"""Of whatever joins it. Without a token: a process that has imported Ray has asked already whether
it shall send one."""


@dataclass(frozen=True)
class Machine:
    """One that has joined; its processes inherited the mark."""

    node: Any
    mark: str

    def runs(self, worker: str) -> bool:
        """Whether a process with that in its command line runs there."""
        return any(worker in line for line in processes_with(self.mark))


class Machines:
    """The cluster; `address` is where it is joined from this machine."""

    def __init__(self, cluster: Any, head: Machine) -> None:
        self.cluster, self.head = cluster, head
        self.address = str(cluster.address)

    def join(self, cores: int = 1) -> Machine:
        """Another machine comes."""
        mark = uuid.uuid4().hex
        with marked(mark):
            return Machine(self.cluster.add_node(num_cpus=cores), mark)

    def leave(self, machine: Machine) -> None:
        """As after `ray stop` there: its processes end by themselves."""
        self.cluster.remove_node(machine.node, allow_graceful=True)

    def lose(self, machine: Machine) -> None:
        """All of its processes are gone at once."""
        for process in marked_processes(machine.mark):
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.cluster.remove_node(machine.node, allow_graceful=False)


@contextmanager
def marked(mark: str) -> Iterator[None]:
    """Processes that are started meanwhile inherit a mark."""
    before = os.environ.get(MARK)
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]
        if before is not None:
            os.environ[MARK] = before


@contextmanager
def simulated_machines(head_cores: int) -> Iterator[Machines]:
    """A head with so many cores, on loopback. The environment must hold `ENVIRONMENT`."""
    mark, asked = uuid.uuid4().hex, {"num_cpus": head_cores, "include_dashboard": False}
    with loopback_only():
        with marked(mark):
            cluster = Cluster(initialize_head=True, head_node_args=asked)
        try:
            yield Machines(cluster, Machine(cluster.head_node, mark))
        finally:
            cluster.shutdown()  # type: ignore[no-untyped-call]
