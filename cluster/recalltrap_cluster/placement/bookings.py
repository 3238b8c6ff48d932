"""Who stands where on a cluster whose packs ask for different things: first fit, without Ray.

Ray alone decides where a process goes. This says whether there is room for one more, so that no
group of workers is started that would wait for another's end, its own workers half placed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from recalltrap_cluster.placement.requests import ClusterNode, Request, count_in, is_selected


@dataclass
class Bookings:
    """The running packs of a cluster, each on the first nodes that had room for it.

    A node that is appended takes no room from anybody: what could be booked before still can.
    """

    nodes: Sequence[ClusterNode]
    _running: dict[Hashable, Request] = field(default_factory=dict)
    _places: dict[Hashable, list[tuple[int, int]]] = field(default_factory=dict)
    """Node's index and number of processes there; nothing where there is no room any more."""

    def __post_init__(self) -> None:
        self._free = [dict(node.resources) for node in self.nodes]

    def book(self, name: Hashable, request: Request) -> bool:
        """Note that a pack runs; whether there is room for all its processes."""
        self._running[name] = request
        return self._place(name)

    def has_room(self, request: Request) -> bool:
        """Whether all processes of a request have room beside those that run."""
        return self._find(request) is not None

    def end(self, name: Hashable) -> None:
        """Give back what an ended pack held, to those first that wait for room."""
        request = self._running.pop(name, None)
        if request is not None:
            self._shift(self._places.pop(name, []), request, +1)
        for waiting in self.waiting:
            self._place(waiting)

    def change(self, nodes: Sequence[ClusterNode]) -> None:
        """Place all that runs again, in the order in which it was begun, on these nodes."""
        if list(nodes) == list(self.nodes):
            return
        self.nodes = nodes
        self._free = [dict(node.resources) for node in nodes]
        self._places.clear()
        for name in self._running:
            self._place(name)

    @property
    def waiting(self) -> list[Hashable]:
        """Packs that were booked without room for them, the first one first."""
        return [name for name in self._running if name not in self._places]

    @property
    def running(self) -> list[Request]:
        """What the packs that were booked ask for."""
        return list(self._running.values())

    @property
    def free(self) -> list[dict[str, float]]:
        """What is left of each node's resources."""
        return [dict(left) for left in self._free]

    def _place(self, name: Hashable) -> bool:
        found = self._find(self._running[name])
        if found is None:
            return False
        self._places[name] = found
        self._shift(found, self._running[name], -1)
        return True

    def _find(self, request: Request) -> list[tuple[int, int]] | None:
        """The first nodes that hold all processes of a request; None where they don't."""
        found: list[tuple[int, int]] = []
        left = request.count
        for index, node in enumerate(self.nodes):
            if is_selected(node, request):
                taken = min(left, count_in(self._free[index], request.each))
                if taken > 0:
                    found.append((index, taken))
                    left -= taken
            if left == 0:
                return found
        return None

    def _shift(self, places: Sequence[tuple[int, int]], request: Request, sign: int) -> None:
        """Take what a request's processes ask for from their nodes, or give it back."""
        for index, count in places:
            for resource, amount in request.each.items():
                self._free[index][resource] += sign * count * amount
