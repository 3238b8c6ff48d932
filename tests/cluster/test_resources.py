"""Will it fit, and how often: without Ray."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap.errors import InputError
from recalltrap.study import Resources
from recalltrap_cluster.resources import plan_resources, schedulable

LAPTOP = {"CPU": 8.0, "memory": 1e9, "node:10.0.0.1": 1.0}
GPU_NODE = {"CPU": 16.0, "GPU": 4.0}


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
        ([{"CPU": 100.0, "GPU": 1.0}], 1, 0.1, 100, 10),
    ],
)
def test_how_many_at_once(
    nodes: list[dict[str, float]], cpus: int, gpus: float, trials: int, concurrent: int
) -> None:
    plan = plan_resources(nodes, Resources(cpus_per_trial=cpus, gpus_per_trial=gpus), trials)
    assert plan.concurrent == concurrent
    assert plan.per_trial == {"CPU": cpus, **({"GPU": gpus} if gpus else {})}


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "shortfall"),
    [
        ([LAPTOP], 9, 0, "asks for 9 CPU on one node.*the most that any of the 1 node.* is 8 CPU"),
        ([LAPTOP, LAPTOP], 9, 0, "2 node.*8 CPU"),
        ([LAPTOP], 1, 1, "1 CPU, 1 GPU on one node.*0 GPU.*-o resources"),
        ([GPU_NODE], 1, 5, "5 GPU.*4 GPU"),
        ([{"CPU": 64.0}, {"CPU": 1.0, "GPU": 1.0}], 2, 1, "could never start"),
        ([], 1, 0, "0 CPU"),
    ],
)
def test_what_can_never_run_is_refused_with_the_shortfall(
    nodes: list[dict[str, float]], cpus: int, gpus: float, shortfall: str
) -> None:
    with pytest.raises(InputError, match=shortfall):
        plan_resources(nodes, Resources(cpus_per_trial=cpus, gpus_per_trial=gpus), 1)


@given(
    st.lists(st.tuples(st.integers(0, 64), st.integers(0, 8)), max_size=5),
    st.integers(1, 8),
    st.sampled_from([0, 0.1, 0.25, 1 / 3, 0.5, 1, 2]),
    st.integers(1, 200),
)
def test_a_plan_fits_its_cluster(
    sizes: list[tuple[int, int]], cpus: int, gpus: float, trials: int
) -> None:
    nodes = [{"CPU": float(c), "GPU": float(g)} for c, g in sizes]
    wanted = Resources(cpus_per_trial=cpus, gpus_per_trial=gpus)
    fits = [node for node in nodes if node["CPU"] >= cpus and node["GPU"] >= gpus]
    if not fits:
        with pytest.raises(InputError):
            plan_resources(nodes, wanted, trials)
        return
    plan = plan_resources(nodes, wanted, trials)
    assert 1 <= plan.concurrent <= trials
    assert plan.concurrent * cpus <= sum(node["CPU"] for node in fits)
    assert plan.concurrent * gpus <= sum(node["GPU"] for node in fits) + 1e-6


def test_this_machine_in_words() -> None:
    assert schedulable(Resources(), 1) == "yes, 1 at once"
    assert schedulable(Resources(cpus_per_trial=4096), 1).startswith("no: a trial asks for 4096")
