"""This machine as a cluster of one node, as Ray would count it, before Ray is started."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from recalltrap.run.plan import Plan
from recalltrap_cluster.placement.planning import Placement, place_plan
from recalltrap_cluster.placement.requests import ClusterNode

CGROUPS = Path("/sys/fs/cgroup")


def place_here(plan: Plan) -> list[Placement]:
    """Fit a plan's packs onto this machine alone; Ray is not started.

    Custom resources and labels are what a cluster is started with: this machine alone has none.

    Raises:
        InputError: it can never hold one of them; the message names the shortfall.
    """
    typed = any(asked.accelerator_type for asked in plan.study.resources.of_all())
    return place_plan([this_machine(typed=typed)], plan)


def this_machine(*, typed: bool = False) -> ClusterNode:
    """Its cores and its NVIDIA GPUs; `typed`: also what Ray calls them, for which it's imported."""
    resources = {"CPU": float(count_cores()), "GPU": float(count_gpus())}
    if typed and resources["GPU"]:
        from recalltrap_cluster.ray_nodes import accelerator_type

        if kind := accelerator_type():
            resources[f"accelerator_type:{kind}"] = 1.0
    return ClusterNode(socket.gethostname(), resources)


def count_cores(cgroups: Path = CGROUPS) -> int:
    """This machine's cores, or what its container may use of them."""
    cores = os.cpu_count() or 1
    quota: list[str] = []
    with contextlib.suppress(OSError):
        quota = (cgroups / "cpu.max").read_text(encoding="ascii").split()
    with contextlib.suppress(OSError):
        files = (cgroups / "cpu" / name for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        quota = quota or [file.read_text(encoding="ascii").strip() for file in files]
    if len(quota) == 2 and all(part.isdigit() for part in quota):
        return max(1, int(float(quota[0]) / float(quota[1])))
    return cores


def count_gpus(devices: Path = Path("/dev")) -> int:
    """This machine's NVIDIA GPUs, or those of them that processes may see; no framework needed."""
    count = len(list(devices.glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return count
    return min(count, len([name for name in visible.split(",") if name.strip()]))
