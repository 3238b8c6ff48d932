"""Packs whose stages ask for different resources, cut where what they ask for changes.

A group of workers has one size and one kind of node for as long as it lives: sampling of a large
teacher and alignment of a small student are packs of their own where the study says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from recalltrap.graph import Node
from recalltrap.resources import Resources
from recalltrap.run.plan import Pack, Plan


def pack_resources(pack: Pack, resources: Resources) -> Resources:
    """What a pack of `cut_by_resources` asks for: what its first node's stage does.

    A pack that builds nothing evaluates only, which no stage is.
    """
    return resources.of_stage(pack.nodes[0].stage if pack.nodes else None)


def with_stage_packs(plan: Plan) -> Plan:
    """A plan whose packs ask for one thing each, by what its study says of stages."""
    if not plan.study.resources.stages:
        return plan
    return replace(plan, packs=tuple(cut_by_resources(plan.packs, plan.study.resources)))


def cut_by_resources(packs: Sequence[Pack], resources: Resources) -> list[Pack]:
    """The packs, cut so that all nodes of each ask for the same; parents first, as they came.

    The last part of a pack evaluates its cells. A pack whose stages ask for the same stays as it
    is, down to its id.
    """
    stages = {node.stage for pack in packs for node in pack.nodes}
    asked = {stage: resources.of_stage(stage) for stage in stages}
    builder: dict[str, str] = {}  # which new pack builds a node
    now: dict[str, frozenset[str]] = {}  # what a former pack has become
    cut: list[Pack] = []
    for pack in packs:
        parts = _parts(pack.nodes, asked)
        needed = frozenset[str]().union(*(now[former] for former in pack.needs))
        before: list[str] = []
        for nodes in parts[:-1]:
            parents = (parent.id for node in nodes for parent in node.parents.values())
            own = {builder[parent] for parent in parents if parent in builder}
            names = list(dict.fromkeys(node.stage for node in nodes))
            config = {**pack.config, "stage": "+".join(names)}
            part = Pack(tuple(nodes), (), frozenset(own), config)
            builder.update({node.id: part.id for node in nodes})
            before.append(part.id)
            cut.append(part)
        last = replace(pack, nodes=tuple(parts[-1]), needs=needed | frozenset(before))
        builder.update({node.id: last.id for node in last.nodes})
        now[pack.id] = frozenset({*before, last.id})
        cut.append(last)
    return cut


def _parts(nodes: Sequence[Node], asked: Mapping[str, Resources]) -> list[list[Node]]:
    """Nodes in parts that ask for the same, no part before one that it needs; at least one.

    A node goes into the earliest part that comes no earlier than its parents' and asks for what it
    does: as few parts as the order of the stages allows.
    """
    parts: list[list[Node]] = []
    place: dict[str, int] = {}
    for node in nodes:  # parents come first
        earliest = max((place.get(parent.id, 0) for parent in node.parents.values()), default=0)
        wanted = asked[node.stage]
        index = next(
            (i for i in range(earliest, len(parts)) if asked[parts[i][0].stage] == wanted),
            len(parts),
        )
        if index == len(parts):
            parts.append([])
        parts[index].append(node)
        place[node.id] = index
    return parts or [[]]
