"""A cluster of several nodes on this machine, in a process of its own: what Ray places, as JSON.

    python simulated_cluster.py STUDY STORAGE TROUBLE

STUDY is held at its alignments until TROUBLE/release stands there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray._private.state import available_resources_per_node, total_resources_per_node
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group, remove_placement_group

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap.resources import Resources
from recalltrap.study.named_studies import load_study
from recalltrap_cluster.placement.planning import place_trials
from recalltrap_cluster.ray_nodes import live_nodes

ASKED: list[tuple[dict[str, Any], bool]] = [
    ({"cpus_per_trial": 2}, False),
    ({"cpus_per_trial": 1, "labels": {"zone": "b"}}, False),
    ({"cpus_per_trial": 1, "labels": {"zone": "!b"}}, False),
    ({"custom": {"license": 0.5}}, False),
    ({"gpus_per_trial": 0.5, "accelerator_type": "H100"}, False),
    ({"gpus_per_trial": 1, "labels": {"zone": "in(b, c)"}}, False),
    ({"workers": 3}, True),
    ({"workers": 2, "cpus_per_trial": 2}, True),
]
READY_SECONDS, NEVER_SECONDS = 30.0, 0.5


def ray_places(wanted: Resources, grouped: bool, groups: int) -> tuple[int, bool]:
    """How many of `groups` find room in Ray at once, and whether one more does."""
    placement = place_trials(live_nodes(), wanted, groups + 1, grouped=grouped)
    request = placement.request

    def reserve() -> Any:
        selectors = [dict(request.labels)] * request.count if request.labels else None
        bundles = [dict(request.each)] * request.count
        return placement_group(bundles, bundle_label_selector=selectors)

    reserved = [reserve() for _ in range(groups)]
    placed = sum(group.wait(READY_SECONDS) for group in reserved)
    extra = reserve()
    more = extra.wait(NEVER_SECONDS)
    for group in (*reserved, extra):
        remove_placement_group(group)
    return placed, more


def planned_and_placed() -> list[dict[str, Any]]:
    """For each request what the planner says and what Ray does."""
    found = []
    for given, grouped in ASKED:
        wanted = Resources.model_validate(given)
        planned = place_trials(live_nodes(), wanted, 1000, grouped=grouped).concurrent
        placed, more = ray_places(wanted, grouped, planned)
        found.append({"asked": given, "planned": planned, "placed": placed, "more": more})
    return found


def busy_licenses() -> int:
    """How many nodes have given their license away."""
    free = available_resources_per_node()  # type: ignore[no-untyped-call]
    total = total_resources_per_node()  # type: ignore[no-untyped-call]
    return sum(
        "license" in has and free.get(node, {}).get("license", 0.0) < has["license"]
        for node, has in total.items()
    )


def await_(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def drain(address: str, node: str) -> bool:
    """Tell a node to go, as a cloud does that takes it back; what runs there goes on."""
    program = str(Path(sys.executable).with_name("ray"))
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test"]
    words = [program, "drain-node", "--address", address, "--node-id", node, *reason]
    return subprocess.run(words, stdout=sys.stderr).returncode == 0


def main(study: str, storage: str, trouble: str) -> dict[str, Any]:
    cluster = Cluster()
    cluster.add_node(num_cpus=2, include_dashboard=False)
    cluster.add_node(
        num_cpus=3, num_gpus=1, labels={"zone": "b"},
        resources={"license": 1, "accelerator_type:H100": 1},
    )  # fmt: skip
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    found: dict[str, Any] = {"placements": planned_and_placed()}
    try:
        rt.run(load_study(study, ["resources.custom={license: 2}"]), storage=storage)
    except InputError as error:
        found["refused"] = str(error)
    found["left"] = os.path.exists(storage)
    status: dict[str, int] = {}

    def run() -> None:
        status["cells"] = rt.run(study, storage=storage).table("cells").num_rows

    running = threading.Thread(target=run)
    running.start()
    found["began"] = await_(lambda: busy_licenses() == 1)
    found["held"] = not await_(lambda: busy_licenses() > 1, 2.5)
    grown = cluster.add_node(num_cpus=1, labels={"zone": "b"}, resources={"license": 1})
    found["grew"] = await_(lambda: busy_licenses() == 2)
    found["drained"] = drain(cluster.address, grown.node_id) and await_(
        lambda: len(live_nodes()) == 2
    )
    found["alive"] = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    (Path(trouble) / "release").touch()
    running.join()
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]
    return {**found, **status}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
