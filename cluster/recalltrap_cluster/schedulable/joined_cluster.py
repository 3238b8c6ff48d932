"""The cluster that this process has joined, and what can run there."""

from __future__ import annotations

from recalltrap.errors import InputError
from recalltrap.run.plan import Plan
from recalltrap_cluster.placement.planning import Placement, place_plan


def place_on_cluster(plan: Plan) -> list[Placement]:
    """Fit a plan's packs onto the joined cluster, or onto what its autoscaler can make of it.

    Empty where the autoscaler doesn't say how far it goes and no node holds them yet: Ray is asked
    for them then.

    Raises:
        InputError: there will never be room for one of them; the message names the shortfall.
    """
    from recalltrap_cluster.ray_nodes import has_autoscaler, live_nodes, planned_nodes

    nodes = live_nodes()
    try:
        return place_plan(nodes, plan)
    except InputError:
        if not has_autoscaler():
            raise
    more = planned_nodes()
    return [] if more is None else place_plan(more, plan)
