"""Where packs may be handed out early: Ray is this machine alone, and has room now."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import ray

from recalltrap_cluster.joining.session import starting_slots

HERE = {
    "NodeID": "a1", "NodeManagerHostname": socket.gethostname(), "Alive": True, "Resources": {},
    "Labels": {},
}  # fmt: skip
ELSEWHERE = {**HERE, "NodeManagerHostname": "another.example"}
LEAVING = {**HERE, "NodeID": "b2"}


@pytest.mark.parametrize(
    ("nodes", "free", "slots"),
    [
        ([HERE], {"CPU": 4.0}, 2),
        ([HERE], {"CPU": 4.0, "GPU": 1.0, "memory": 1e9}, 2),
        ([HERE], {"CPU": 1.0}, 0),
        ([HERE], {}, 0),
        ([ELSEWHERE], {"CPU": 4.0}, 0),
        ([HERE, ELSEWHERE], {"CPU": 8.0}, 0),
        ([HERE, HERE], {"CPU": 8.0}, 0),
        ([HERE, LEAVING], {"CPU": 4.0}, 2),
    ],
)
def test_places_to_start_in_are_counted_on_this_machine_alone(
    nodes: list[dict[str, Any]],
    free: dict[str, float],
    slots: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    draining = "recalltrap_cluster.ray_nodes.ray_state.get_draining_nodes"
    monkeypatch.setattr(draining, lambda: {"b2": 0})
    monkeypatch.setattr(ray, "available_resources", lambda: free)
    assert starting_slots({"CPU": 2.0}) == slots
