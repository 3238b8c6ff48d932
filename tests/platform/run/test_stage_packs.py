"""Packs cut where stages ask for different resources: the same work, parents first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap.registry import find_kind
from recalltrap.resources import Resources
from recalltrap.run.plan import Pack, Plan, make_plan, plan_references
from recalltrap.run.stage_packs import pack_resources, with_stage_packs
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.named_studies import load_study

StudyFile = Callable[..., str]
ONE_OTHER = {"align": {"cpus_per_trial": 2}}
ALL_OTHERS = {
    "sft": {"cpus_per_trial": 2}, "distill": {"cpus_per_trial": 3}, "align": {"cpus_per_trial": 4}
}  # fmt: skip


def planned(path: str, storage: str, stages: dict[str, Any], kind: str) -> Plan:
    study = load_study(path)
    resources = Resources.model_validate({"stages": stages})
    study = study.model_copy(update={"resources": resources, "kind": kind})
    return make_plan(study, find_kind(kind), ArtifactStore(Storage(storage)), ())


@pytest.mark.parametrize("kind", ["toy", "toy_group"])
@pytest.mark.parametrize("stages", [ONE_OTHER, ALL_OTHERS])
def test_a_pack_asks_for_one_thing_and_finds_what_it_builds_on(
    kind: str, stages: dict[str, Any], study_file: StudyFile, storage: str
) -> None:
    orderings = ["K-A", "A-K", {"name": "A-A-K", "stages": ["align", "align", "distill"]}]
    whole = planned(study_file(orderings=orderings, kind=kind), storage, stages, kind)
    plan = with_stage_packs(whole)
    earlier: dict[str, Pack] = {}
    for pack in plan.packs:
        asked = {whole.study.resources.of_stage(node.stage).cpus_per_trial for node in pack.nodes}
        assert len(asked) <= 1
        if asked:
            assert asked == {pack_resources(pack, whole.study.resources).cpus_per_trial}
        assert pack.needs <= set(earlier), "parents first, and so no circles"
        assert pack.id not in earlier
        there = {node.id for name in pack.needs for node in earlier[name].nodes}
        for node in pack.nodes:
            assert {parent.id for parent in node.parents.values()} <= there
            there.add(node.id)
        for cell in pack.cells:
            assert {node.id for node in cell.models.values()} <= there | _all(pack, earlier)
        earlier[pack.id] = pack
    assert sorted(node.id for node in plan.builds()) == sorted(node.id for node in whole.builds())
    cells = [cell.id for pack in plan.packs for cell in pack.cells]
    assert sorted(cells) == sorted(cell.id for cell in whole.cells)


def _all(pack: Pack, earlier: dict[str, Pack]) -> set[str]:
    """What stands once all that a pack waits for has ended, and what that waited for."""
    found = {node.id for node in pack.nodes}
    for name in pack.needs:
        found |= _all(earlier[name], earlier)
    return found


def test_packs_stay_as_they_are_where_stages_ask_for_the_same(
    study_file: StudyFile, storage: str
) -> None:
    same = {"align": {"cpus_per_trial": 1}}
    for stages in ({}, same):
        whole = planned(study_file(), storage, stages, "toy")
        cut = with_stage_packs(whole)
        assert [pack.id for pack in cut.packs] == [pack.id for pack in whole.packs]
        assert [pack.needs for pack in cut.packs] == [pack.needs for pack in whole.packs]


def test_references_are_cut_as_well(study_file: StudyFile, storage: str) -> None:
    study = load_study(study_file(resources={"stages": ALL_OTHERS}))
    plan = with_stage_packs(plan_references(study, ArtifactStore(Storage(storage))))
    assert [{node.stage for node in pack.nodes} for pack in plan.packs] == [{"sft"}, {"distill"}]


@pytest.mark.parametrize("table", ["metrics", "curves"])
def test_the_numbers_are_the_same(table: str, study_file: StudyFile, storage: str) -> None:
    plain = rt.run(study_file(), storage=storage, local=True)
    cut = rt.run(study_file(resources={"stages": ALL_OTHERS}), storage=f"{storage}-cut", local=True)
    assert cut.table(table).equals(plain.table(table))
    assert [cell.id for cell in cut.planned()] == [cell.id for cell in plain.planned()]


def test_a_stage_that_the_study_lacks_is_refused(study_file: StudyFile) -> None:
    with pytest.raises(InputError, match=r"study\.yaml:\d+: 'algin' is no stage.*'align'"):
        load_study(study_file(resources={"stages": {"algin": {"cpus_per_trial": 2}}}))
    with pytest.raises(InputError, match=r"resources\.stages\.align\.workers = 2.*one process"):
        load_study(study_file(resources={"stages": {"align": {"workers": 2}}}))
