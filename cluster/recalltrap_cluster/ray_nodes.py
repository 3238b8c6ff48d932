"""What Ray knows of a cluster's nodes and its autoscaler, by names that may change without a word.

Seen with Ray 2.60; `test_ray_nodes.py` says what an upgrade broke. As `ray_internals`, whose other
half this is, it is imported late.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray
from ray._private.accelerators import NvidiaGPUAcceleratorManager
from ray._private.state import state as ray_state
from ray.autoscaler.sdk import request_resources
from ray.experimental import internal_kv

from recalltrap_cluster.placement.requests import ClusterNode, Request
from recalltrap_cluster.ray_internals import HEAD_RESOURCES, is_client

T = TypeVar("T")

MOST_NODES = 4096
"""Of one kind that a plan counts with where an autoscaler has no limit."""
AUTOSCALING_STATUS = "__autoscaling_status"
"""Where the autoscaler of `ray up` keeps its state, once it runs."""
V2_KEY, V2_NAMESPACE = "__autoscaler_v2_enabled", "__autoscaler"
NODE_GROUP = "ray.io/node-group"
OWN_TYPE = re.compile("node_[0-9a-f]+")


def live_nodes() -> list[ClusterNode]:
    """The live nodes of the joined cluster that take new work.

    Ray's own list is documented as "for debugging". It holds nodes that are drained, too: what runs
    there goes on, and nothing is begun any more. A client can't ask which they are.
    """
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    leaving = {} if is_client() else ray_state.get_draining_nodes()
    return [
        ClusterNode(node["NodeManagerHostname"], dict(node["Resources"]), dict(node["Labels"]))
        for node in nodes
        if node["Alive"] and node["NodeID"] not in leaving
    ]


def answered_on_head(question: Callable[[], T]) -> Callable[[], T]:
    """A question to Ray's state, which Ray's client can't ask: a task on the head does."""

    @functools.wraps(question)
    def ask() -> T:
        if not is_client():
            return question()
        answer: T = ray.get(ray.remote(num_cpus=0, resources=HEAD_RESOURCES)(ask).remote())
        return answer

    return ask


@answered_on_head
def has_autoscaler() -> bool:
    """Whether the joined cluster starts nodes when they are asked for.

    One that was started by hand has an autoscaler's monitor, too, which calls each node a type of
    its own, `node_` and its id. Version 2 of the autoscaler (KubeRay) labels its nodes.
    """
    if ray_state.get_cluster_config() is not None:
        return True
    if internal_kv._internal_kv_get(V2_KEY, namespace=V2_NAMESPACE) == b"1":
        return any(NODE_GROUP in node.labels for node in live_nodes())
    return names_node_types(internal_kv._internal_kv_get(AUTOSCALING_STATUS) or b"{}")


def names_node_types(status: bytes) -> bool:
    """Whether an autoscaler's status tells of nodes of types that its configuration names."""
    try:
        nodes = json.loads(status)["autoscaler_report"]["active_nodes"]
    except (ValueError, KeyError, TypeError):
        return False
    return any(not OWN_TYPE.fullmatch(name) for name in nodes)


def ask_autoscaler(requests: Sequence[Request]) -> None:
    """Tell the cluster's autoscaler what should find room at once; nothing: no more than is used.

    By Ray's own `request_resources`, which counts what runs as well.
    """
    processes = [request for request in requests for _ in range(request.count)]
    bundles = [dict(request.each) for request in processes]
    selectors = [dict(request.labels) for request in processes]
    request_resources(bundles=bundles, bundle_label_selectors=selectors if any(selectors) else None)


@answered_on_head
def planned_nodes() -> list[ClusterNode] | None:
    """The nodes that the cluster's autoscaler may start, all of them; None: it doesn't say.

    Version 2 of the autoscaler says so (KubeRay); the older one of `ray up` keeps it to itself.
    """
    config = ray_state.get_cluster_config()
    if config is None:
        return None
    return [
        ClusterNode(group.name, {k: float(v) for k, v in group.resources.items()}, planned=True)
        for group in config.node_group_configs
        for _ in range(MOST_NODES if group.max_count < 0 else min(group.max_count, MOST_NODES))
    ]


def accelerator_type() -> str | None:
    """What Ray calls the type of this machine's GPUs, e.g. H100; None where it sees none."""
    kind: str | None = NvidiaGPUAcceleratorManager.get_current_node_accelerator_type()
    return kind
