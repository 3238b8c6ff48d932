"""Packs of different kinds side by side: no node is over-subscribed, and none is forgotten."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from recalltrap_cluster.placement.bookings import Bookings
from recalltrap_cluster.placement.requests import ClusterNode, Request

NODES = st.lists(
    st.builds(
        lambda cpus, gpus, zone: ClusterNode("n", {"CPU": cpus, "GPU": gpus}, {"zone": zone}),
        st.integers(0, 8), st.integers(0, 4), st.sampled_from("ab"),
    ),
    max_size=5,
)  # fmt: skip
REQUESTS = st.builds(
    lambda cpus, gpus, count, zone: Request(
        {"CPU": float(cpus), **({"GPU": gpus} if gpus else {})},
        {"zone": zone} if zone else {},
        count,
    ),
    st.integers(1, 4), st.sampled_from([0, 0.25, 0.5, 1, 2]), st.integers(1, 5),
    st.sampled_from(["", "a", "!a"]),
)  # fmt: skip
EVENTS = st.lists(st.one_of(REQUESTS, st.integers(0, 20), NODES), max_size=30)


@given(NODES, EVENTS)
def test_no_node_is_over_subscribed(
    nodes: list[ClusterNode], events: list[Request | int | list[ClusterNode]]
) -> None:
    """Whatever starts, ends, and comes and goes of the nodes."""
    bookings, running = Bookings(nodes), dict[int, Request]()
    for number, event in enumerate(events):
        if isinstance(event, Request):
            room = bookings.has_room(event)
            assert bookings.book(number, event) == room
            running[number] = event
        elif isinstance(event, int):
            if running:
                name = sorted(running)[event % len(running)]
                del running[name]
                bookings.end(name)
        else:
            bookings.change(event)
        placed = [running[name] for name in running if name not in bookings.waiting]
        for index, node in enumerate(bookings.nodes):
            for resource, free in bookings.free[index].items():
                assert -1e-9 <= free <= node.resources[resource] + 1e-9
        taken = defaultdict[str, float](float)
        for request in placed:
            for resource, amount in request.each.items():
                taken[resource] += request.count * amount
        for resource, amount in taken.items():
            has = sum(node.resources.get(resource, 0.0) for node in bookings.nodes)
            left = sum(each.get(resource, 0.0) for each in bookings.free)
            assert abs(has - left - amount) < 1e-6, "what is gone from the nodes is what runs"
        assert bookings.running == list(running.values())


@given(NODES, NODES, st.lists(REQUESTS, max_size=8), REQUESTS)
def test_nodes_that_come_take_no_room(
    nodes: list[ClusterNode], more: list[ClusterNode], before: list[Request], wanted: Request
) -> None:
    few, many = Bookings(nodes), Bookings([*nodes, *more])
    for number, request in enumerate(before):
        if few.has_room(request):
            few.book(number, request)
            assert many.book(number, request)
    if few.has_room(wanted):
        assert many.has_room(wanted)


def test_labels_are_kept_to_and_a_group_may_stand_on_two_nodes() -> None:
    one, two = (ClusterNode(zone, {"CPU": 2.0}, {"zone": zone}) for zone in "ab")
    bookings = Bookings([one, two])
    assert not bookings.has_room(Request({"CPU": 1.0}, {"zone": "a"}, 3))
    assert bookings.book("group", Request({"CPU": 1.0}, {}, 3))
    assert [free["CPU"] for free in bookings.free] == [0, 1]
    assert not bookings.book("late", Request({"CPU": 1.0}, {"zone": "a"}))
    bookings.end("group")
    assert bookings.waiting == [], "who waited has the room now"
    assert [free["CPU"] for free in bookings.free] == [1, 2]
