"""Times of a plan: an execution once, of a look what it adds, of a seed what it alone needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from toy_kind import KIND

import recalltrap as rt
from recalltrap.graph import Node
from recalltrap.kind import CostEstimate
from recalltrap.resources import Resources
from recalltrap.run.plan import Plan, longest, make_plan
from recalltrap.run.plan_costs import Work, further_seed, look_costs, stage_costs, work_of
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.study import Study

StudyFile = Callable[..., str]


@pytest.fixture
def planned(storage: str) -> Callable[[Study], Plan]:
    def plan(study: Study) -> Plan:
        return make_plan(study, KIND, ArtifactStore(Storage(storage)), ())

    return plan


@pytest.fixture(autouse=True)
def second_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each iteration, a third of it on a GPU, and ten bytes for each artifact."""

    def estimate(kind: object, node: Node) -> CostEstimate:
        seconds = float(node.length or 1)
        return CostEstimate(seconds, 10, 2 * seconds, gpu_seconds=seconds / 3)

    monkeypatch.setattr(type(KIND), "estimate", estimate)


def test_an_execution_takes_as_long_as_its_longest_length(
    study_file: StudyFile, planned: Callable[[Study], Plan]
) -> None:
    short = planned(rt.load_study(study_file(orderings=["A"], seeds=1, grid={"iterations": [9]})))
    grid = {"iterations": [3, 6, 9]}
    plan = planned(rt.load_study(study_file(orderings=["A"], seeds=1, grid=grid)))
    (align,) = [
        cost for cost in stage_costs(plan.builds(), KIND, Resources()) if cost.stage == "align"
    ]
    assert (align.builds, align.core_seconds, align.bytes) == (3, 9.0, 30)
    assert work_of(plan.builds(), KIND) == work_of(short.builds(), KIND)
    assert {node.length for node in longest(plan.builds()) if node.stage == "align"} == {9}


def test_looks_add_up_to_the_whole(study_file: StudyFile, planned: Callable[[Study], Plan]) -> None:
    study = rt.load_study(study_file(seeds=6))
    plans = [planned(study.model_copy(update={"seeds": tuple(range(n))})) for n in (2, 3, 6)]
    looks = look_costs(plans, KIND)
    assert [(look.seeds, look.todo) for look in looks] == [(2, 8), (3, 4), (6, 12)]
    whole = work_of(plans[-1].builds(), KIND)
    assert sum(look.work.core_seconds for look in looks) == pytest.approx(whole.core_seconds)
    assert looks[2].work.core_seconds == pytest.approx(3 * looks[1].work.core_seconds)


@pytest.mark.parametrize("seeds", [1, 4, [0, 2, 7]])
def test_a_further_seed_takes_what_adding_one_takes(
    seeds: object, study_file: StudyFile, planned: Callable[[Study], Plan]
) -> None:
    study = rt.load_study(study_file(), {"seeds": seeds})
    plan, more = planned(study), planned(study.model_copy(update={"seeds": (*study.seeds, 99)}))
    added = work_of(more.builds(), KIND).core_seconds - work_of(plan.builds(), KIND).core_seconds
    assert further_seed(plan, KIND).core_seconds == pytest.approx(added)
    assert added > 0


def test_work_is_said_in_the_time_of_what_does_it() -> None:
    work = Work(core_seconds=7200.0, gpu_seconds=300.0, flops=1e12)
    assert work.text(on_gpu=False) == "2 hours on one core"
    assert work.text(on_gpu=True) == "5 minutes on one GPU"
    assert Work(7200.0, 0.0, 0.0).text(on_gpu=True) == "2 hours on one core"
