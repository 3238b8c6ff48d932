"""Whether a study's packs can ever run on a cluster, and how many at once: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from recalltrap.errors import InputError, shown
from recalltrap.registry import find_kind
from recalltrap.resources import Resources
from recalltrap.run.plan import Plan
from recalltrap.run.stage_packs import pack_resources
from recalltrap_cluster.placement.requests import (
    ACCELERATOR,
    ClusterNode,
    Request,
    count_fitting,
    fits_in,
    is_selected,
    request_of,
)

FIELDS = {"CPU": "cpus_per_trial", "GPU": "gpus_per_trial"}


@dataclass(frozen=True)
class Placement:
    """What packs of one kind ask for, and how many of them an idle cluster holds at once."""

    request: Request
    concurrent: int
    stages: str = ""
    """Whose packs: their stages, where those of a study differ."""


def place_plan(nodes: Sequence[ClusterNode], plan: Plan) -> list[Placement]:
    """Fit a plan's packs onto a cluster's nodes, one placement for all that ask for the same.

    Raises:
        InputError: the nodes can never hold one of them; the message names the shortfall.
    """
    grouped = find_kind(plan.study.kind).grouped
    asked: list[tuple[Resources, int, list[str]]] = []
    for pack in plan.packs:
        wanted = pack_resources(pack, plan.study.resources)
        stages = list(dict.fromkeys(node.stage for node in pack.nodes))
        for index, (known, count, names) in enumerate(asked):
            if known == wanted:
                names += [stage for stage in stages if stage not in names]
                asked[index] = (known, count + 1, names)
                break
        else:
            asked.append((wanted, 1, stages))
    return [
        place_trials(nodes, wanted, count, grouped=grouped,
                     stages=", ".join(names) if len(asked) > 1 else "")
        for wanted, count, names in asked
    ]  # fmt: skip


def place_trials(
    nodes: Sequence[ClusterNode],
    wanted: Resources,
    trials: int,
    *,
    grouped: bool = False,
    stages: str = "",
) -> Placement:
    """Fit trials that ask for the same onto a cluster's nodes.

    Args:
        nodes: each node's resources and labels. A process stands on one node.
        wanted: what one trial asks for, or one worker of it.
        trials: how many trials there are.
        grouped: whether a trial is executed by a group of workers, on one or several nodes.
        stages: whose trials, for the message.

    Raises:
        InputError: the nodes can never hold one trial; the message names the shortfall.
    """
    request = request_of(wanted, grouped=grouped)
    whose = f"the stages {stages}: " if "," in stages else f"the stage {stages}: " if stages else ""
    if request.count > 1 and 0 < wanted.gpus_per_trial < 1:
        raise InputError(
            f"{whose}resources.gpus_per_trial = {wanted.gpus_per_trial:g} with resources.workers = "
            f"{wanted.workers}: workers that train together need a whole GPU each (NCCL). "
            "Set resources.gpus_per_trial=1, or resources.workers=1"
        )
    slots = sum(count_fitting(node, request) for node in nodes)
    if slots == 0:
        raise InputError(whose + _never(nodes, request, "worker" if grouped else "trial"))
    if slots < request.count:
        raise InputError(whose + _too_many(nodes, request, slots))
    return Placement(request, max(1, min(slots // request.count, trials)), stages)


def _too_many(nodes: Sequence[ClusterNode], request: Request, slots: int) -> str:
    """Why a group never finds room though one of its workers does."""
    return (
        f"resources.workers = {request.count}: {request.count} workers of {asked_for(request)} "
        f"each run at the same time, and the {_count(nodes)} hold {slots} of them: "
        f"{request.count - slots} too few, so they could never start. "
        f"Set resources.workers={slots} (the global batch stays the same), ask for less "
        "with resources.cpus_per_trial or resources.gpus_per_trial, or join a larger cluster"
    )


def _never(nodes: Sequence[ClusterNode], request: Request, who: str) -> str:
    """Why one process never finds room: what no node has, and what would fit."""
    says = f"a {who} asks for {asked_for(request)} on one node"
    selected = [node for node in nodes if is_selected(node, request)]
    if nodes and not selected:
        return (
            f"{says}, and {_unlabelled(nodes, request)}: it could never start. Set "
            "resources.labels to labels that nodes have, or join a cluster with such nodes "
            "(`ray start --labels`)"
        )
    most = {
        name: max((node.resources.get(name, 0.0) for node in selected), default=0.0)
        for name in request.each
    }
    which = "nodes with these labels" if request.labels else _count(nodes)
    has = ", ".join(_amount(name, amount, of_node=True) for name, amount in most.items())
    return (
        f"{says}, and the most that any of the {which} has is {has}: it could never start. "
        f"{what_would_fit(selected, request)}"
    )


def _unlabelled(nodes: Sequence[ClusterNode], request: Request) -> str:
    """What labels the nodes have in place of those that are asked for."""
    found = []
    for name in request.labels:
        values = Counter(node.labels.get(name) for node in nodes)
        listed = [
            f"{'not set' if value is None else shown(value)} on {count}"
            for value, count in values.most_common(5)
        ]
        found.append(f"the label {name} is {', '.join(listed)}")
    return f"none of the {_count(nodes)} matches these labels ({'; '.join(found)})"


def what_would_fit(nodes: Sequence[ClusterNode], request: Request) -> str:
    """The way out for a process that fits on none of these nodes: what one of them could hold."""
    outs = []
    short = [
        name for name, amount in request.each.items()
        if all(node.resources.get(name, 0.0) + 1e-9 < amount for node in nodes)
    ]  # fmt: skip
    for name, field in FIELDS.items():
        others = {other: amount for other, amount in request.each.items() if other != name}
        left = [node.resources.get(name, 0.0) for node in nodes if fits_in(node.resources, others)]
        best = int(max(left, default=-1.0))
        least = 1 if name == "CPU" else 0
        if name in request.each and least <= best < request.each[name]:
            outs.append(f"-o resources.{field}={best}")
    strange = [name for name in short if name not in FIELDS]
    if strange and len(strange) == len(short):
        outs.append(f"remove {', '.join(map(_field, strange))}")
    way = f"What would fit: {' or '.join(outs)}" if outs else "Ask for less of several"
    return f"{way}; else join a larger cluster"


def _field(name: str) -> str:
    if name.startswith(ACCELERATOR):
        return "resources.accelerator_type"
    return f"resources.custom.{name}"


def asked_for(request: Request) -> str:
    """What each process of a request asks for, in words."""
    amounts = ", ".join(_amount(name, amount) for name, amount in request.each.items())
    if not request.labels:
        return amounts
    labels = ", ".join(f"{name}: {value}" for name, value in request.labels.items())
    return f"{amounts} (labels {labels})"


def _amount(name: str, amount: float, *, of_node: bool = False) -> str:
    if name.startswith(ACCELERATOR):
        kind = name.partition(":")[2]
        return f"no {kind}" if of_node and not amount else f"of the type {kind}"
    return f"{amount:g} {shown(name)[1:-1]}"


def _count(nodes: Sequence[ClusterNode]) -> str:
    return f"{len(nodes)} node(s)"


def in_words(placements: Sequence[Placement], *, grouped: bool) -> str:
    """What a cluster holds at once, e.g. `yes, 4 at once, 2 worker(s) each`."""
    parts = []
    for placement in placements:
        whose = f"{placement.stages}: " if placement.stages else ""
        group = f", {placement.request.count} worker(s) each" if grouped else ""
        parts.append(f"{whose}{placement.concurrent} at once{group}")
    return f"yes, {'; '.join(parts)}" if parts else "yes, nothing is left to run"
