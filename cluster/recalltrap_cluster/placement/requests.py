"""What a pack's processes ask of a cluster, in Ray's words; Ray is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recalltrap.resources import Resources

ACCELERATOR = "accelerator_type:"
ACCELERATOR_SHARE = 0.001
"""What Ray's own `accelerator_type` asks for of a node's resource of that name, which is 1."""


DRIVER_REQUEST = {"memory": 1.0}
"""What a trial asks for that only drives workers: Tune refuses a request for nothing at all."""


@dataclass(frozen=True)
class ClusterNode:
    """A node of a cluster: its host's name, its resources and its labels by Ray's names.

    `planned`: an autoscaler may start it. Its labels and accelerators' type are known once it
    stands.
    """

    host: str
    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)
    planned: bool = False


@dataclass(frozen=True)
class Request:
    """Processes that start together: `count` of them, each on one node that has `each`."""

    each: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)
    count: int = 1


def request_of(wanted: Resources, *, grouped: bool) -> Request:
    """What a pack asks for; `grouped`: a group of workers executes it, not one process."""
    each = {"CPU": float(wanted.cpus_per_trial)}
    if wanted.gpus_per_trial:
        each["GPU"] = float(wanted.gpus_per_trial)
    if wanted.accelerator_type is not None:
        each[f"{ACCELERATOR}{wanted.accelerator_type}"] = ACCELERATOR_SHARE
    each |= wanted.custom
    return Request(each, dict(wanted.labels), wanted.workers if grouped else 1)


def selects(selector: str, value: str | None) -> bool:
    """Whether a label selector takes a node whose label has this value, or (None) has none.

    Ray's: `spot`, `!spot`, `in(a, b)`, `!in(a, b)`. A negated one takes nodes without the label.
    """
    negated = selector.startswith("!")
    positive = selector.removeprefix("!")
    if positive.startswith("in("):
        values = [part.strip() for part in positive[3:-1].split(",")]
    else:
        values = [positive]
    return (value in values) != negated


def is_selected(node: ClusterNode, request: Request) -> bool:
    """Whether the node's labels are those that the request's processes want, or may be."""
    if node.planned:
        return True
    return all(selects(wanted, node.labels.get(name)) for name, wanted in request.labels.items())


def count_in(resources: Mapping[str, float], each: Mapping[str, float]) -> int:
    """How many processes that ask for `each` fit into some resources at once."""
    return min(int(resources.get(name, 0.0) / amount + 1e-9) for name, amount in each.items())


def fits_in(resources: Mapping[str, float], each: Mapping[str, float]) -> bool:
    """Whether one process that asks for `each`, or for nothing, fits into some resources."""
    return not each or count_in(resources, each) > 0


def count_fitting(node: ClusterNode, request: Request) -> int:
    """How many of the request's processes fit on an idle node at once."""
    if not is_selected(node, request):
        return 0
    typed = (name for name in request.each if name.startswith(ACCELERATOR) and node.planned)
    return count_in({**node.resources, **dict.fromkeys(typed, 1.0)}, request.each)
