"""Will it fit, and how often: without Ray."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap.errors import InputError
from recalltrap.registry import find_kind
from recalltrap.resources import Resources
from recalltrap.run.plan import Plan, make_plan
from recalltrap.run.stage_packs import with_stage_packs
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.named_studies import load_study
from recalltrap_cluster.placement.planning import in_words, place_plan, place_trials
from recalltrap_cluster.placement.requests import ClusterNode


def node(labels: dict[str, str] | None = None, **resources: float) -> ClusterNode:
    return ClusterNode("host", resources, labels or {})


LAPTOP = ClusterNode("laptop", {"CPU": 8.0, "memory": 1e9, "node:10.0.0.1": 1.0})
GPU_NODE = node(CPU=16.0, GPU=4.0)
SPOT = ClusterNode(
    "spot",
    {"CPU": 4.0, "GPU": 1.0, "accelerator_type:H100": 1.0, "license": 2.0},
    {"market": "spot", "zone": "a"},
)


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "trials", "concurrent"),
    [
        ([LAPTOP], 1, 0, 100, 8),
        ([LAPTOP], 1, 0, 3, 3),
        ([LAPTOP], 3, 0, 100, 2),
        ([LAPTOP], 8, 0, 100, 1),
        ([LAPTOP, LAPTOP], 5, 0, 100, 2),
        ([GPU_NODE], 1, 1, 100, 4),
        ([GPU_NODE], 1, 0.25, 100, 16),
        ([GPU_NODE], 1, 0.1, 100, 16),
        ([GPU_NODE], 8, 1, 100, 2),
        ([LAPTOP, GPU_NODE], 2, 1, 100, 4),
        ([node(CPU=100.0, GPU=1.0)], 1, 0.1, 100, 10),
    ],
)
def test_how_many_at_once(
    nodes: list[ClusterNode], cpus: int, gpus: float, trials: int, concurrent: int
) -> None:
    placement = place_trials(nodes, Resources(cpus_per_trial=cpus, gpus_per_trial=gpus), trials)
    assert placement.concurrent == concurrent
    assert placement.request.each == {"CPU": cpus, **({"GPU": gpus} if gpus else {})}


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "shortfall"),
    [
        ([LAPTOP], 9, 0, "asks for 9 CPU on one node.*the most that any of the 1 node.* is 8 CPU"),
        ([LAPTOP, LAPTOP], 9, 0, "2 node.*8 CPU"),
        ([LAPTOP], 1, 1, "1 CPU, 1 GPU on one node.*0 GPU.*fit: -o resources.gpus_per_trial=0"),
        ([GPU_NODE], 1, 5, "5 GPU.*4 GPU"),
        ([node(CPU=64.0), node(CPU=1.0, GPU=1.0)], 2, 1, "could never start"),
        ([], 1, 0, "0 CPU"),
    ],
)
def test_what_can_never_run_is_refused_with_the_shortfall(
    nodes: list[ClusterNode], cpus: int, gpus: float, shortfall: str
) -> None:
    with pytest.raises(InputError, match=shortfall):
        place_trials(nodes, Resources(cpus_per_trial=cpus, gpus_per_trial=gpus), 1)


@given(
    st.lists(st.tuples(st.integers(0, 64), st.integers(0, 8)), max_size=5),
    st.integers(1, 8),
    st.sampled_from([0, 0.1, 0.25, 1 / 3, 0.5, 1, 2]),
    st.integers(1, 200),
)
def test_a_plan_fits_its_cluster(
    sizes: list[tuple[int, int]], cpus: int, gpus: float, trials: int
) -> None:
    nodes = [node(CPU=float(c), GPU=float(g)) for c, g in sizes]
    wanted = Resources(cpus_per_trial=cpus, gpus_per_trial=gpus)
    fits = [n.resources for n in nodes if n.resources["CPU"] >= cpus and n.resources["GPU"] >= gpus]
    if not fits:
        with pytest.raises(InputError):
            place_trials(nodes, wanted, trials)
        return
    placement = place_trials(nodes, wanted, trials)
    assert 1 <= placement.concurrent <= trials
    assert placement.concurrent * cpus <= sum(each["CPU"] for each in fits)
    assert placement.concurrent * gpus <= sum(each["GPU"] for each in fits) + 1e-6


@pytest.mark.parametrize(
    ("nodes", "workers", "cpus", "gpus", "trials", "concurrent"),
    [
        ([LAPTOP], 1, 1, 0, 100, 8),
        ([LAPTOP], 1, 1, 0, 3, 3),
        ([LAPTOP], 2, 1, 0, 100, 4),
        ([LAPTOP], 3, 1, 0, 100, 2),
        ([LAPTOP], 2, 3, 0, 100, 1),
        ([LAPTOP, LAPTOP], 3, 5, 0, 100, None),
        ([LAPTOP, LAPTOP], 2, 5, 0, 100, 1),
        ([GPU_NODE, GPU_NODE], 8, 1, 1, 100, 1),
        ([GPU_NODE, GPU_NODE], 3, 1, 1, 100, 2),
        ([GPU_NODE], 1, 1, 0.25, 100, 16),
        ([GPU_NODE, LAPTOP], 5, 1, 1, 1, None),
    ],
)
def test_how_many_groups_at_once(
    nodes: list[ClusterNode],
    workers: int,
    cpus: int,
    gpus: float,
    trials: int,
    concurrent: int | None,
) -> None:
    wanted = Resources(workers=workers, cpus_per_trial=cpus, gpus_per_trial=gpus)
    if concurrent is None:
        with pytest.raises(InputError, match=rf"resources\.workers = {workers}.*never start"):
            place_trials(nodes, wanted, trials, grouped=True)
        return
    placement = place_trials(nodes, wanted, trials, grouped=True)
    assert (placement.concurrent, placement.request.count) == (concurrent, workers)


@given(
    st.lists(st.tuples(st.integers(0, 16), st.integers(0, 8)), min_size=1, max_size=4),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([0, 1, 2]),
    st.integers(1, 50),
)
def test_groups_can_all_be_placed(
    sizes: list[tuple[int, int]], workers: int, cpus: int, gpus: int, trials: int
) -> None:
    wanted = Resources(workers=workers, cpus_per_trial=cpus, gpus_per_trial=gpus)
    nodes = [node(CPU=float(c), GPU=float(g)) for c, g in sizes]

    def placed() -> int:
        """Workers put one by one on the first node that has room."""
        count = 0
        for free in (dict(each.resources) for each in nodes):
            while free["CPU"] >= cpus and free["GPU"] >= gpus:
                free = {"CPU": free["CPU"] - cpus, "GPU": free["GPU"] - gpus}
                count += 1
        return count

    if placed() < workers:
        with pytest.raises(InputError):
            place_trials(nodes, wanted, trials, grouped=True)
        return
    placement = place_trials(nodes, wanted, trials, grouped=True)
    assert placement.concurrent == min(trials, placed() // workers)


def test_too_many_workers_are_refused_with_the_way_out() -> None:
    wanted = Resources(workers=20, cpus_per_trial=2)
    with pytest.raises(
        InputError,
        match=r"resources\.workers = 20: 20 workers of 2 CPU each.*2 node\(s\) hold 8 of them: "
        r"12 too few.*Set resources\.workers=8.*resources\.cpus_per_trial",
    ):
        place_trials([LAPTOP, LAPTOP], wanted, 1, grouped=True)
    with pytest.raises(InputError, match=r"a worker asks for 9 CPU on one node"):
        place_trials([LAPTOP], Resources(workers=2, cpus_per_trial=9), 1, grouped=True)
    assert place_trials([LAPTOP], wanted, 1).concurrent == 1, "other kinds have no workers"


def test_workers_that_train_together_share_no_gpu() -> None:
    with pytest.raises(InputError, match=r"resources\.gpus_per_trial = 0\.5.*gpus_per_trial=1"):
        place_trials([GPU_NODE], Resources(workers=2, gpus_per_trial=0.5), 1, grouped=True)


@given(
    st.lists(st.tuples(st.integers(0, 16), st.integers(0, 8)), min_size=1, max_size=4),
    st.tuples(st.integers(0, 16), st.integers(0, 8)),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(0, 2),
)
def test_a_node_more_never_holds_fewer(
    sizes: list[tuple[int, int]], more: tuple[int, int], workers: int, cpus: int, gpus: int
) -> None:
    wanted = Resources(workers=workers, cpus_per_trial=cpus, gpus_per_trial=gpus)
    nodes = [node(CPU=float(c), GPU=float(g)) for c, g in (*sizes, more)]
    for grouped in (True, False):
        try:
            few = place_trials(nodes[:-1], wanted, 1000, grouped=grouped).concurrent
        except InputError:
            continue
        assert place_trials(nodes, wanted, 1000, grouped=grouped).concurrent >= few


@pytest.mark.parametrize(
    ("asked", "concurrent"),
    [
        ({"labels": {"market": "spot"}}, 4),
        ({"labels": {"market": "!spot"}}, 24),
        ({"labels": {"market": "in(spot, on-demand)"}}, 4),
        ({"labels": {"zone": "!in(b,c)"}, "cpus_per_trial": 4}, 1 + 2 + 4),
        ({"custom": {"license": 1}}, 2),
        ({"custom": {"license": 0.5}}, 4),
        ({"gpus_per_trial": 1}, 5),
        ({"gpus_per_trial": 1, "accelerator_type": "H100"}, 1),
        ({"gpus_per_trial": 0.1, "accelerator_type": "H100", "custom": {"license": 1}}, 2),
    ],
)
def test_labels_types_and_a_clusters_own_resources(asked: dict[str, Any], concurrent: int) -> None:
    placement = place_trials([LAPTOP, GPU_NODE, SPOT], Resources(**asked), 1000)
    assert placement.concurrent == concurrent


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"labels": {"market": "reserved"}}, r"none of the 3 node\(s\) matches these labels "
         r"\(the label market is not set on 2, 'spot' on 1\): it could never start\. "
         r"Set resources\.labels to labels that nodes have"),
        ({"labels": {"market": "spot"}, "cpus_per_trial": 5}, r"with these labels has is 4 CPU.*"
         r"fit: -o resources\.cpus_per_trial=4;"),
        ({"custom": {"license": 3}}, r"3 license on one.* 2 license.*remove resources\.custom\."),
        ({"gpus_per_trial": 1, "accelerator_type": "A100"}, r"type A100 on one.*no A100.*"
         r"fit: remove resources\.accelerator_type;"),
        ({"cpus_per_trial": 16, "gpus_per_trial": 8}, r"-o resources\.gpus_per_trial=4;"),
    ],
)  # fmt: skip
def test_the_refusal_says_what_would_fit(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        place_trials([LAPTOP, GPU_NODE, SPOT], Resources(**asked), 1)


@given(st.integers(1, 64), st.integers(0, 8), st.integers(1, 40), st.integers(0, 4))
def test_what_is_said_to_fit_fits(cpus: int, gpus: int, has: int, gpus_there: int) -> None:
    nodes = [node(CPU=float(has), GPU=float(gpus_there))]
    wanted = Resources(cpus_per_trial=cpus, gpus_per_trial=gpus)
    try:
        place_trials(nodes, wanted, 1)
    except InputError as error:
        for field, value in re.findall(r"-o resources\.(\w+)=(\d+)", str(error)):
            place_trials(nodes, wanted.model_copy(update={field: int(value)}), 1)


def test_an_autoscalers_nodes_may_have_any_label_and_type() -> None:
    planned = ClusterNode("gpu-group", {"CPU": 8.0, "GPU": 2.0}, planned=True)
    wanted = Resources(gpus_per_trial=1, accelerator_type="H100", labels={"market": "spot"})
    assert place_trials([planned, planned], wanted, 10).concurrent == 4
    with pytest.raises(InputError, match="3 GPU"):
        place_trials([planned], Resources(gpus_per_trial=3), 1)


def planned_study(study_file: Callable[..., str], storage: str, **fields: Any) -> Plan:
    study = load_study(study_file(kind="toy_group", seeds=2, **fields))
    return with_stage_packs(
        make_plan(study, find_kind("toy_group"), ArtifactStore(Storage(storage)), ())
    )


def test_stages_are_placed_by_what_each_asks_for(
    study_file: Callable[..., str], storage: str
) -> None:
    resources = {"workers": 2, "stages": {"align": {"workers": 4, "cpus_per_trial": 2}}}
    plan = planned_study(study_file, storage, resources=resources)
    placements = place_plan([LAPTOP, LAPTOP], plan)
    by_stage = {placement.stages: placement for placement in placements}
    assert by_stage["align"].concurrent == 2
    others = [pack for pack in plan.packs if {node.stage for node in pack.nodes} != {"align"}]
    assert by_stage["sft, distill"].concurrent == min(8, len(others)) < 8
    words = in_words(placements, grouped=True)
    assert "align: 2 at once, 4 worker(s) each" in words
    with pytest.raises(InputError, match=r"the stage align: resources\.workers = 4.*hold 3 of"):
        place_plan([LAPTOP.__class__("small", {"CPU": 7.0})], plan)
