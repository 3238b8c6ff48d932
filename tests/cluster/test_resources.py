"""Will it fit, and how often: without Ray."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap.errors import InputError
from recalltrap.resources import Resources
from recalltrap_cluster.resources import place_trials, schedulable

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
    placement = place_trials(nodes, Resources(cpus_per_trial=cpus, gpus_per_trial=gpus), trials)
    assert placement.concurrent == concurrent
    assert placement.per_trial == {"CPU": cpus, **({"GPU": gpus} if gpus else {})}


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
    nodes = [{"CPU": float(c), "GPU": float(g)} for c, g in sizes]
    wanted = Resources(cpus_per_trial=cpus, gpus_per_trial=gpus)
    fits = [node for node in nodes if node["CPU"] >= cpus and node["GPU"] >= gpus]
    if not fits:
        with pytest.raises(InputError):
            place_trials(nodes, wanted, trials)
        return
    placement = place_trials(nodes, wanted, trials)
    assert 1 <= placement.concurrent <= trials
    assert placement.concurrent * cpus <= sum(node["CPU"] for node in fits)
    assert placement.concurrent * gpus <= sum(node["GPU"] for node in fits) + 1e-6


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
    nodes: list[dict[str, float]],
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
    assert (placement.concurrent, placement.workers) == (concurrent, workers)
    assert placement.per_trial == {"CPU": 0, "memory": 1}, "the workers' share is left to them"


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
    nodes = [{"CPU": float(c), "GPU": float(g)} for c, g in sizes]

    def placed() -> int:
        """Workers put one by one on the first node that has room."""
        count = 0
        for free in (dict(node) for node in nodes):
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


def test_this_machine_in_words() -> None:
    assert schedulable(Resources(), 1) == "yes, 1 at once"
    assert schedulable(Resources(cpus_per_trial=4096), 1).startswith("no: a trial asks for 4096")
    words = schedulable(Resources(workers=4096), 1, grouped=True)
    assert words.startswith("no: resources.workers = 4096")
    assert schedulable(Resources(), 1, grouped=True) == "yes, 1 at once, 1 worker(s) each"
