"""When the next pack may start, on a cluster that grows and shrinks meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from recalltrap_cluster.placement.bookings import Bookings
from recalltrap_cluster.placement.requests import ClusterNode, Request

LOOK_SECONDS = 2.0
"""Between two looks at the cluster's nodes."""
MOST_ANNOUNCED = 1000
"""Packs that an autoscaler is told of at once: it looks at each of them against each node."""

Look = Callable[[], Sequence[ClusterNode]]
Announce = Callable[[Sequence[Request]], None]


class Admission:
    """Lets packs start while there is room for them on the nodes that the cluster has now.

    Args:
        requests: what each pack asks for, by its id.
        look: the cluster's live nodes.
        grouped: a pack's workers are started by the pack, which asks Ray for nothing itself: it
            starts where there is room. A pack that is one process is asked for by Ray, and one
            may wait for room, so that a process that becomes free is kept for it.
        announce: told of what runs and what could, where an autoscaler starts nodes for it.
    """

    def __init__(
        self,
        requests: Mapping[str, Request],
        look: Look,
        *,
        grouped: bool,
        announce: Announce | None = None,
    ) -> None:
        self.requests = dict(requests)
        self.look = look
        self.grouped = grouped
        self.announce = announce
        self.bookings = Bookings(())
        self.most = 0
        """Packs that had room at the same time, at most."""
        self._due = 0.0
        self._announced: list[Request] | None = None

    def choose(self, ready: Sequence[str]) -> str | None:
        """The first of some packs that may start now, which then counts as running."""
        self._refresh(ready)
        chosen = self._first_with_room(ready)
        if chosen is None and ready and self._may_wait():
            chosen = ready[0]
        if chosen is not None:
            self.bookings.book(chosen, self.requests[chosen])
            placed = len(self.bookings.running) - len(self.bookings.waiting)
            self.most = max(self.most, placed)
        return chosen

    def end(self, pack: str) -> None:
        """A pack has ended."""
        self.bookings.end(pack)

    def close(self) -> None:
        """Nothing more is wanted of an autoscaler."""
        if self.announce is not None:
            self.announce([])

    def _first_with_room(self, ready: Sequence[str]) -> str | None:
        refused: list[Request] = []
        for pack in ready:
            request = self.requests[pack]
            if request in refused:
                continue
            if self.bookings.has_room(request):
                return pack
            refused.append(request)
        return None

    def _may_wait(self) -> bool:
        """Whether a pack may be handed to Ray without room for it.

        Where nothing runs nothing else would ever free a node: then Ray is asked, so that an
        autoscaler, and whoever watches trials that wait, know of it.
        """
        if self.grouped:
            return not self.bookings.running
        return not self.bookings.waiting

    def _refresh(self, ready: Sequence[str]) -> None:
        """Look at the cluster again, when it's time."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + LOOK_SECONDS
        self.bookings.change(self.look())
        if self.announce is None:
            return
        wanted = [*self.bookings.running, *(self.requests[pack] for pack in ready)]
        if (asked := wanted[:MOST_ANNOUNCED]) != self._announced:
            self.announce(asked)
            self._announced = asked
