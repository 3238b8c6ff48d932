"""The nearest run to a study: same kind, same algorithm, most in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from recalltrap.errors import InputError
from recalltrap.registry import room
from recalltrap.study.study import Study
from recalltrap_analysis.verdicts.power_of_study import decidable
from recalltrap_analysis.verdicts.relative import decidable_in_storage, relatives

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun


@dataclass
class NamedRun:
    study: Study
    axes: tuple[str, ...] = ()
    folder: str = ""
    store: Any = None
    cells: list[Any] = field(default_factory=list)

    def table(self, name: str, /) -> pa.Table:
        raise AssertionError("a run is ranked by its study alone")

    def planned(self) -> list[Any]:
        raise AssertionError("a run is ranked by its study alone")

    def provenance(self) -> dict[str, Any]:
        return {}

    def metrics(self) -> dict[str, Any]:
        return {}

    def looks(self) -> tuple[int, ...]:
        return ()


class DamagedRun(NamedRun):
    @property
    def study(self) -> Study:
        raise InputError("study.yaml is damaged")

    @study.setter
    def study(self, value: Study) -> None: ...


def study(name: str, seeds: int = 5, kind: str = "mog", **settings: Any) -> Study:
    grid = {name: values for name, values in settings.items() if isinstance(values, list)}
    fixed = {name: value for name, value in settings.items() if name not in grid}
    return Study(
        name=name, kind=kind, question="?", orderings=["K-A", "A-K"], seeds=seeds, grid=grid,
        settings=fixed,
    )  # fmt: skip


def ranked(asked: Study, *others: Study) -> list[str]:
    return [run.study.name for run in relatives(asked, [NamedRun(other) for other in others])]


SWEEP = study("swept", algorithm="ppo", kl_weight=[0.5, 1.0, 2.0, 4.0])


def test_what_shares_more_of_the_axes_and_settings_is_nearer() -> None:
    far = study("far", algorithm="ppo", kl_weight=[8.0], spacing=1.5)
    half = study("half", algorithm="ppo", kl_weight=[0.5, 1.0])
    same = study("same", algorithm="ppo", kl_weight=[0.5, 1.0, 2.0, 4.0])
    assert ranked(SWEEP, far, half, same) == ["same", "half", "far"]
    assert ranked(SWEEP, same, half, far) == ["same", "half", "far"]


def test_another_algorithm_or_kind_is_no_relative() -> None:
    dpo = study("dpo", algorithm="dpo_online", kl_weight=[0.5, 1.0, 2.0, 4.0])
    both = study("both", algorithm=["dpo_online", "ppo"], kl_weight=[0.5])
    language = study("language", kind="llm", algorithm="ppo", kl_weight=[0.5])
    assert ranked(SWEEP, dpo, both, language) == ["both"]


def test_a_default_spelt_out_is_the_default() -> None:
    plain, spelt = study("plain"), study("spelt", kl_weight=1, algorithm="ppo")
    other = study("other", kl_weight=[1.0, 2.0])
    assert ranked(plain, other, spelt) == ["spelt", "other"]


def test_its_own_run_comes_before_its_equals_and_then_the_one_with_more_seeds() -> None:
    few, many = study("few", 3), study("many", 20)
    assert ranked(study("few", 8), many, few) == ["few", "many"]
    assert ranked(study("new", 8), few, many) == ["many", "few"]


def test_a_damaged_run_is_left_out() -> None:
    assert relatives(SWEEP, [DamagedRun(SWEEP)]) == []
    whole = NamedRun(SWEEP)
    assert relatives(SWEEP, [DamagedRun(SWEEP), whole]) == [whole]


@pytest.mark.parametrize("kind", ["mog", "llm"])
def test_without_runs_there_is_none(kind: str) -> None:
    assert relatives(study("x", kind=kind), []) == []


def test_the_platforms_door_leads_here(make_run: MakeRun) -> None:
    run = make_run(noise=0.07, seeds=12)
    found = decidable_in_storage(SWEEP, SWEEP.cells(), SWEEP.axes, [])
    assert found is not None
    assert "guess" in found.sd_from
    assert room("power") is decidable_in_storage
    assert found == decidable(SWEEP, SWEEP.cells(), SWEEP.axes, relatives=[])
    assert decidable(SWEEP, SWEEP.cells(), SWEEP.axes, relatives=[run]) != found
