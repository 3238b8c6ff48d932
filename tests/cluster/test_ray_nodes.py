"""What Ray says of a cluster's nodes: each says what an upgrade broke."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import pytest
from ray import _raylet
from ray._private.utils import get_num_cpus
from ray.core.generated import autoscaler_pb2
from ray.util.accelerators import NVIDIA_H100

from recalltrap.resources import Resources
from recalltrap_cluster import ray_internals, ray_nodes
from recalltrap_cluster.placement.requests import Request, request_of
from recalltrap_cluster.schedulable.this_machine import count_cores


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_the_nodes_say_where_they_are_and_what_they_have() -> None:
    (node,) = ray_nodes.live_nodes()
    assert node.host == socket.gethostname(), (
        "NodeManagerHostname isn't this machine's name: session.starting_slots would see no "
        "Ray that is this machine alone, and packs would never be handed out early"
    )
    assert node.resources["CPU"] == 2
    assert set(ray_internals.HEAD_RESOURCES) <= set(node.resources), (
        "the head's own resource has another name: under ray:// Tune would wait forever"
    )
    assert "ray.io/node-id" in node.labels, "labels have another name: none would ever be found"
    assert ray_nodes.has_autoscaler() is False, (
        "a Ray that nobody scales is taken for one that starts nodes: nothing would be refused"
    )
    assert ray_nodes.planned_nodes() is None
    ray_nodes.ask_autoscaler([Request({"CPU": 1.0}, {"zone": "a"}, 2)])
    ray_nodes.ask_autoscaler([])


def test_an_autoscaler_names_the_types_of_its_nodes() -> None:
    """As a monitor of Ray 2.60 wrote them, of a head that was started by hand and of `ray up`'s."""
    by_hand = "node_5db7ee2d34ec79652a1b37cf5997151905343df6a02134e7f7e7e843"
    for types, scaled in (({by_hand: 1}, False), ({"ray.head.default": 1, "gpu": 2}, True)):
        status = json.dumps({"autoscaler_report": {"active_nodes": types}}).encode()
        assert ray_nodes.names_node_types(status) is scaled
    for broken in (b"", b"{}", b"[]", b'{"autoscaler_report": null}'):
        assert not ray_nodes.names_node_types(broken)


def test_the_autoscalers_keys_and_fields_are_rays() -> None:
    raylet: Any = _raylet
    messages: Any = autoscaler_pb2
    assert (ray_nodes.V2_KEY, ray_nodes.V2_NAMESPACE) == (
        raylet.GCS_AUTOSCALER_V2_ENABLED_KEY,
        raylet.GCS_AUTOSCALER_STATE_NAMESPACE,
    )
    fields = messages.NodeGroupConfig.DESCRIPTOR.fields_by_name
    assert {"resources", "max_count", "name"} <= set(fields)


def test_an_accelerators_type_is_a_resource_of_its_node() -> None:

    wanted = Resources(gpus_per_trial=1, accelerator_type=NVIDIA_H100)
    assert request_of(wanted, grouped=False).each["accelerator_type:H100"] == 0.001
    if not os.path.exists("/dev/nvidia0"):
        assert ray_nodes.accelerator_type() is None


def test_cores_are_counted_as_ray_counts_them() -> None:
    assert count_cores() == get_num_cpus(override_docker_cpu_warning=True)
