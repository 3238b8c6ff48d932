"""Ray's own processes: where they answer, what they print, where a worker's log lies.

Like `ray_internals` this touches names of Ray that may change without a word, and has a test for
each that says what an upgrade broke.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import worker as ray_worker

from recalltrap.supervision.lifeline import Door, answers
from recalltrap_cluster.ray_internals import is_client


@contextlib.contextmanager
def no_dumps() -> Iterator[None]:
    """Keep Ray from printing, on stdout, what it publishes of its own processes' ends: two hundred
    lines of a raylet's log. `log_to_driver=False` doesn't. What is lost, the supervisor says."""
    before = ray_worker.print_to_stdstream
    ray_worker.print_to_stdstream = lambda data, ignore_prefix: None
    try:
        yield
    finally:
        ray_worker.print_to_stdstream = before


def logs_folder() -> str:
    """Where the processes of this node write what they print."""
    node: Any = ray_worker._global_node
    return str(node.get_logs_dir_path())


_DIED = re.compile(r"^\s*pid: (\d+)$(?:\n^\s*(?!ip:)\w+: .*$)*\n^\s*ip: (\S+)$", re.MULTILINE)


def died_processes(text: str) -> list[tuple[str, int]]:
    """Address and process id of the actors whose deaths an error's text tells."""
    return [(ip, int(pid)) for pid, ip in _DIED.findall(text)]


def own_ip() -> str:
    """This node's address, as the cluster knows it."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def node_at(ip: str) -> str | None:
    """The id of a live node with that address."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return next((n["NodeID"] for n in nodes if n["Alive"] and n["NodeManagerAddress"] == ip), None)


def on_node(node: str) -> Any:
    """What makes a task run on a node, or nowhere."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def cluster_doors(address: str) -> list[Door]:
    """What must answer while this process uses the cluster: the head's GCS and a raylet, its own
    machine's or, through Ray's client, the head's; for a client its server, and of the others those
    that it can reach."""
    context: Any = ray.get_runtime_context()
    gcs, own = _host_and_port(context.gcs_address), context.get_node_id()
    doors = [Door("its head (GCS)", *gcs)]
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    for node in nodes:
        mine = (
            node["Resources"].get("node:__internal_head__")
            if is_client()
            else node["NodeID"] == own
        )
        if node["Alive"] and mine:
            doors.append(Door("a raylet", node["NodeManagerAddress"], int(node["NodeManagerPort"])))
    if not is_client():
        return doors
    server = Door("its client server", *_host_and_port(address.removeprefix("ray://")))
    return [server, *filter(answers, doors)]


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
