"""Who may start on a cluster that grows and shrinks: without Ray."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from recalltrap_cluster.placement import admission as admissions
from recalltrap_cluster.placement.admission import Admission
from recalltrap_cluster.placement.requests import ClusterNode, Request

PAIR = Request({"CPU": 2.0}, {}, 2)
ONE = Request({"CPU": 1.0})


def nodes(*cores: float) -> list[ClusterNode]:
    return [ClusterNode(f"n{i}", {"CPU": count}) for i, count in enumerate(cores)]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> list[ClusterNode]:
    """The live nodes, which a test may change; every look sees them as they are."""
    monkeypatch.setattr(admissions, "LOOK_SECONDS", 0.0)
    return nodes(4.0)


def test_a_cluster_is_used_as_it_grows_and_shrinks(cluster: list[ClusterNode]) -> None:
    packs = [f"p{i}" for i in range(6)]
    admission = Admission(dict.fromkeys(packs, PAIR), lambda: list(cluster), grouped=True)
    assert admission.choose(packs) == "p0"
    assert admission.choose(packs[1:]) is None, "a group doesn't wait: it would hold half its room"
    cluster += nodes(4.0, 4.0)
    assert admission.choose(packs[1:]) == "p1"
    assert admission.choose(packs[2:]) == "p2"
    assert admission.choose(packs[3:]) is None
    del cluster[1:]
    admission.end("p0")
    assert admission.choose(packs[3:]) is None, "p1 has the room that p0 left"
    admission.end("p1")
    admission.end("p2")
    assert admission.choose(packs[3:]) == "p3"


def test_what_fits_goes_before_what_has_to_wait(cluster: list[ClusterNode]) -> None:
    requests = {"large": Request({"CPU": 4.0}, {}, 2), "small": ONE, "other": ONE}
    admission = Admission(requests, lambda: list(cluster), grouped=True)
    assert admission.choose(["large", "small", "other"]) == "small"
    assert admission.choose(["large", "other"]) == "other"
    assert admission.choose(["large"]) is None
    admission.end("small")
    admission.end("other")
    assert admission.choose(["large"]) == "large", "nothing else runs: Ray is asked for it"


def test_of_single_processes_one_may_wait_with_ray(cluster: list[ClusterNode]) -> None:
    packs = [f"p{i}" for i in range(9)]
    admission = Admission(dict.fromkeys(packs, ONE), lambda: list(cluster), grouped=False)
    for index in range(5):
        assert admission.choose(packs[index:]) == packs[index]
    assert admission.choose(packs[5:]) is None
    admission.end("p2")
    assert admission.choose(packs[5:]) == "p5"


def test_an_autoscaler_hears_of_what_runs_and_what_could(cluster: list[ClusterNode]) -> None:
    told: list[Sequence[Request]] = []
    admission = Admission(
        {"a": PAIR, "b": PAIR, "c": ONE}, lambda: list(cluster), grouped=True, announce=told.append
    )
    admission.choose(["a", "b"])
    admission.choose(["b", "c"])
    assert told == [[PAIR, PAIR], [PAIR, PAIR, ONE]]
    admission.close()
    assert told[-1] == [], "nodes may go at the end"
