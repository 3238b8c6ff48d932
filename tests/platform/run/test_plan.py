"""What is shared, what is cached, what is done, and the packs that do the rest."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_kind import KIND

from recalltrap.graph import Node
from recalltrap.kind import CostEstimate
from recalltrap.orderings import STANDARD
from recalltrap.run import plan as planning
from recalltrap.run.plan import Pack, Plan, _join_small, make_plan, plan_references
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore, Cost
from recalltrap.study.named_studies import load_study

StudyFile = Callable[..., str]


@pytest.fixture
def store(storage: str) -> ArtifactStore:
    root = Storage(storage)
    root.prepare()
    return ArtifactStore(root)


def build(nodes: Iterable[Node], store: ArtifactStore) -> None:
    for node in nodes:
        store.put(node, {"model": b""}, Cost(0.0, 0.0, 0, 0.0, "cpu", 1))


def stages(plan: Plan) -> Counter[str]:
    return Counter(node.stage for node in plan.builds())


def check_order(plan: Plan, store: ArtifactStore) -> None:
    """Every pack finds what it builds on: in itself, in an earlier pack it needs, or stored."""
    earlier: dict[str, Pack] = {}
    for pack in plan.packs:
        assert pack.needs <= set(earlier), "parents first, and so no circles"
        there = {node.id for name in pack.needs for node in earlier[name].nodes}
        for node in pack.nodes:
            for parent in node.parents.values():
                assert parent.id in there or store.has(parent)
            there.add(node.id)
        for cell in pack.cells:
            assert all(node.id in there or store.has(node) for node in cell.models.values())
        assert pack.id not in earlier
        earlier[pack.id] = pack


def check_complete(plan: Plan) -> None:
    """Every missing cell in one pack, every missing stage built once."""
    cells = [cell.id for pack in plan.packs for cell in pack.cells]
    assert sorted(cells) == sorted(cell.id for cell in plan.todo)
    builds = [node.id for node in plan.builds()]
    assert len(builds) == len(set(builds))


def test_what_cells_share_is_built_once(study_file: StudyFile, store: ArtifactStore) -> None:
    study = load_study(study_file(seeds=3, grid={"kl_weight": [0.5, 1.0, 2.0]}))
    plan = make_plan(study, KIND, store, ())
    check_order(plan, store)
    check_complete(plan)
    # p' and p'' once a seed; K-A aligns p'' and A-K p' at three weights; A-K distils each
    assert stages(plan) == {"sft": 3, "distill": 3 + 3 * 3, "align": 3 * 2 * 3}
    shared = [pack for pack in plan.packs if not pack.cells]
    assert [pack.config["stage"] for pack in shared] == ["sft", "distill"]
    assert all(pack.seeds == [0, 1, 2] for pack in plan.packs)
    assert len(plan.packs) == 2 + 2 * 3


def test_students_share_the_alignment_of_a_k(study_file: StudyFile, store: ArtifactStore) -> None:
    grid = {"student_components": [2, 3, 4]}
    study = load_study(study_file(seeds=2, orderings=["A-K"], grid=grid))
    plan = make_plan(study, KIND, store, ())
    check_order(plan, store)
    check_complete(plan)
    assert stages(plan) == {"sft": 2, "align": 2, "distill": 2 * (3 + 3)}


def test_orderings_share_their_beginnings(study_file: StudyFile, store: ArtifactStore) -> None:
    study = load_study(study_file(seeds=1, orderings=list(STANDARD), grid={"kl_weight": [1.0]}))
    plan = make_plan(study, KIND, store, ())
    check_order(plan, store)
    check_complete(plan)
    # align: of p'' (K-A, K-A-K), of p' (A, A-K), of p'' towards p' (K-A@p')
    assert stages(plan) == {"sft": 1, "align": 3, "distill": 3}


def test_an_iterations_sweep_is_one_execution(study_file: StudyFile, store: ArtifactStore) -> None:
    grid = {"iterations": [5, 10, 20], "kl_weight": [1.0, 2.0]}
    study = load_study(study_file(seeds=2, orderings=["K-A"], grid=grid))
    plan = make_plan(study, KIND, store, ())
    check_order(plan, store)
    check_complete(plan)
    packs = [pack for pack in plan.packs if pack.cells]
    assert [pack.config["factors"] for pack in packs] == [
        {"iterations": [5, 10, 20], "kl_weight": 1.0},
        {"iterations": [5, 10, 20], "kl_weight": 2.0},
    ]
    assert [len(pack.cells) for pack in packs] == [6, 6]


def test_more_seeds_plan_only_the_new(study_file: StudyFile, store: ArtifactStore) -> None:
    first = make_plan(load_study(study_file(seeds=3)), KIND, store, ())
    build(first.builds(), store)
    done = {cell.id for cell in first.cells}
    plan = make_plan(load_study(study_file(seeds=5)), KIND, store, done)
    check_order(plan, store)
    check_complete(plan)
    assert plan.done == done
    assert {cell.seed for cell in plan.todo} == {3, 4}
    assert {node.seed for node in plan.builds()} == {3, 4}
    assert not plan.cached


def test_a_larger_grid_takes_its_references_from_the_store(
    study_file: StudyFile, store: ArtifactStore
) -> None:
    first = make_plan(load_study(study_file()), KIND, store, ())
    build(first.builds(), store)
    done = {cell.id for cell in first.cells}
    larger = load_study(study_file(grid={"kl_weight": [0.5, 2.0, 4.0]}))
    plan = make_plan(larger, KIND, store, done)
    check_order(plan, store)
    check_complete(plan)
    assert {cell.factors["kl_weight"] for cell in plan.todo} == {4.0}
    assert stages(plan) == {"align": 6, "distill": 3}
    assert Counter(node.stage for node in plan.cached) == {"sft": 3, "distill": 3}


def test_nothing_is_left_when_all_is_done(study_file: StudyFile, store: ArtifactStore) -> None:
    study = load_study(study_file())
    done = [cell.id for cell in study.cells()]
    plan = make_plan(study, KIND, store, [*done, "of an earlier setting"])
    assert not plan.packs
    assert not plan.todo
    assert plan.done == set(done)


def test_what_was_built_but_not_evaluated_is_not_built_again(
    study_file: StudyFile, store: ArtifactStore
) -> None:
    study = load_study(study_file())
    build(make_plan(study, KIND, store, ()).builds(), store)
    plan = make_plan(study, KIND, store, ())
    check_complete(plan)
    assert not plan.builds()
    assert len(plan.packs) == 4


@pytest.mark.slow
@given(st.lists(st.floats(0, 20), min_size=1, max_size=40), st.floats(0.5, 10))
def test_joined_groups_are_about_equally_long(costs: list[float], least: float) -> None:
    groups = [[(index, cost)] for index, cost in enumerate(costs)]
    joined = _join_small([(group, length(group)) for group in groups], least)
    assert [item for group in joined for item in group] == [group[0] for group in groups]
    share = sum(costs) / max(1, round(sum(costs) / least))
    assert least / 1.5 <= share <= least * 1.5 or len(joined) == 1
    for group, after in itertools.pairwise(joined):
        assert length(group) + after[0][1] / 2 > share, "joined as long as it was short"
    for group in joined:
        assert len(group) == 1 or length(group) <= share + group[-1][1] / 2 + 1e-9


def length(group: Sequence[tuple[int, float]]) -> float:
    return sum(cost for _, cost in group)


def test_long_groups_stay_alone() -> None:
    groups = [[(0, 30.0)], [(1, 5.0)], [(2, 1.0)], [(3, 1.0)], [(4, 40.0)]]
    joined = _join_small([(group, length(group)) for group in groups], 3.0)
    assert joined == [groups[0], groups[1], groups[2] + groups[3], groups[4]]
    assert _join_small([]) == []


@pytest.mark.parametrize(("seconds", "trials"), [(1e-3, 1), (1.0, 6), (10.0, 16)])
def test_short_settings_share_trials(
    seconds: float,
    trials: int,
    study_file: StudyFile,
    store: ArtifactStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "FEW_PACKS", 4)
    monkeypatch.setattr(type(KIND), "estimate", lambda self, node: CostEstimate(seconds, 0))
    grid = {"kl_weight": [0.5, 1.0, 2.0, 4.0], "student_components": [2, 3]}
    plan = make_plan(load_study(study_file(seeds=2, grid=grid)), KIND, store, ())
    check_order(plan, store)
    check_complete(plan)
    packs = [pack for pack in plan.packs if pack.cells]
    assert len(packs) == trials
    setting = [cell.setting for pack in packs for cell in pack.cells]
    assert setting == sorted(setting, key=setting.index), "a setting's seeds stay together"
    factors = {value for pack in packs for value in _listed(pack.config["factors"]["kl_weight"])}
    assert factors == {0.5, 1.0, 2.0, 4.0}


def test_few_settings_have_a_trial_each(
    study_file: StudyFile, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(KIND), "estimate", lambda self, node: CostEstimate(1e-3, 0))
    for settings, trials in ((12, 24), (13, None)):
        weights = [0.1 * (index + 1) for index in range(settings)]
        study = load_study(study_file(seeds=1, grid={"kl_weight": weights}))
        packs = [pack for pack in make_plan(study, KIND, store, ()).packs if pack.cells]
        assert len(packs) == (trials or 1)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_stages_that_more_cells_wait_for_come_first(
    study_file: StudyFile, store: ArtifactStore
) -> None:
    grid = {"kl_weight": [0.5, 1.0], "student_components": [2, 3]}
    plan = make_plan(load_study(study_file(seeds=2, grid=grid)), KIND, store, ())
    shared = [pack for pack in plan.packs if not pack.cells]
    assert [pack.config["stage"] for pack in shared] == ["sft", *["distill"] * 2, *["align"] * 2]


def test_a_packs_id_follows_from_its_work(study_file: StudyFile, store: ArtifactStore) -> None:
    ids = [[p.id for p in make_plan(load_study(study_file(seeds=n)), KIND, store, ()).packs]
           for n in (2, 2, 3)]  # fmt: skip
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


def test_a_pack_says_what_it_is(study_file: StudyFile, store: ArtifactStore) -> None:
    names = [pack.name for pack in make_plan(load_study(study_file()), KIND, store, ()).packs]
    assert names == [
        "sft (shared)", "distill (shared)",
        "K-A kl_weight=0.5", "A-K kl_weight=0.5", "K-A kl_weight=2.0", "A-K kl_weight=2.0",
    ]  # fmt: skip


def test_users_count_the_cells_of_an_artifact(study_file: StudyFile, store: ArtifactStore) -> None:
    plan = make_plan(load_study(study_file(seeds=2)), KIND, store, ())
    for node in plan.builds():
        own = [cell for cell in plan.cells if node.id in {n.id for n in cell.nodes}]
        assert plan.users[node.id] == len(own) >= 1


def test_a_forecast_needs_the_references_alone(study_file: StudyFile, store: ArtifactStore) -> None:
    study = load_study(study_file(seeds=2, grid={"student_components": [2, 3]}))
    plan = plan_references(study, store)
    check_order(plan, store)
    assert stages(plan) == {"sft": 2, "distill": 4}
    build(plan.builds(), store)
    again = plan_references(study, store)
    assert not again.packs
    assert len(again.cached) == 6
