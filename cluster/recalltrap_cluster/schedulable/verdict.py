"""Whether a plan can be scheduled, in words: what `recalltrap plan` says."""

from __future__ import annotations

from recalltrap.errors import InputError
from recalltrap.registry import find_kind
from recalltrap.run.plan import Plan
from recalltrap_cluster.placement.planning import in_words
from recalltrap_cluster.schedulable.this_machine import place_here


def schedulable(plan: Plan, address: str = "local") -> str:
    """`yes, ` and how many packs at once, or `no: ` and why never.

    Args:
        plan: what would run.
        address: `local`: this machine, without starting Ray; else a cluster, which is joined.

    Raises:
        InputError: the address is refused, or no cluster answers there.
    """
    grouped = find_kind(plan.study.kind).grouped
    if address == "local":
        try:
            return in_words(place_here(plan), grouped=grouped)
        except InputError as error:
            return f"no: {error}"
    from recalltrap_cluster.joining.session import ray_session

    with ray_session(address):
        from recalltrap_cluster.schedulable.joined_cluster import place_on_cluster

        try:
            placements = place_on_cluster(plan)
        except InputError as error:
            return f"no: {error}"
    if not placements and plan.packs:
        return "yes, once the cluster's autoscaler has started nodes for it"
    return in_words(placements, grouped=grouped)
