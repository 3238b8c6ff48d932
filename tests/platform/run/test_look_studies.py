"""A study that is run until its primary is decided: which seeds run, what stands afterwards."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import recalltrap as rt
from recalltrap.registry import find_kind
from recalltrap.results.results import Results
from recalltrap.run import run as running
from recalltrap.run.display import ProgressTable, Silent
from recalltrap.run.look_studies import look_title, noting, studies_at_looks, undecided_at
from recalltrap.run.plan import Plan, make_plan
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap.study.study_file import read_study

StudyFile = Callable[..., str]
LOOKS = {"looks": [2, 3, 5]}


def deciding_at(monkeypatch: pytest.MonkeyPatch, seeds: int) -> list[int]:
    """Whatever the numbers say, decided from so many seeds on; the looks that were judged."""
    judged: list[int] = []

    def undecided(results: Results) -> tuple[str, ...]:
        judged.append(len(results.study.seeds))
        return () if judged[-1] >= seeds else ("rate 0.1",)

    monkeypatch.setattr(running, "undecided_at", undecided)
    return judged


class Watching(Silent):
    def __init__(self) -> None:
        self.plans: list[Plan] = []

    def begin(self, plan: Plan) -> None:
        self.plans.append(plan)


def seeds_run(results: Results) -> set[int]:
    return set(results.sql("select seed from cells_parts")["seed"].to_pylist())


@pytest.mark.slow
@pytest.mark.parametrize(("decided", "expected"), [(2, [2]), (3, [2, 3]), (9, [2, 3, 5])])
def test_it_stops_at_the_first_look_that_decides(
    decided: int, expected: Sequence[int], study_file: StudyFile, storage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    judged = deciding_at(monkeypatch, decided)
    watching = Watching()
    path = study_file(seeds=LOOKS)
    results = rt.run(path, storage=storage, local=True, display=watching)
    assert judged == [look for look in expected if look < 5]  # the last is judged by the report
    assert [len(plan.study.seeds) for plan in watching.plans] == expected
    assert [len(plan.todo) for plan in watching.plans] == [
        4 * (after - before) for before, after in zip([0, *expected], expected, strict=False)
    ]
    assert seeds_run(results) == set(range(expected[-1]))
    assert results.study.looks == results.looks() == (2, 3, 5)
    status = results.status().iloc[-1]
    assert (status["planned"], status["missing"]) == (4 * expected[-1], 0)
    assert [launch["seeds"] for launch in results.launches()] == expected


@pytest.mark.slow
def test_the_run_says_how_far_it_came_and_goes_on_from_its_own_file(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deciding_at(monkeypatch, 2)
    results = rt.run(study_file(seeds=LOOKS), storage=storage, local=True)
    saved = Path(results.folder, "study.yaml")
    assert read_study(saved)[0]["seeds"] == {"looks": [2, 3, 5], "reached": 2}
    deciding_at(monkeypatch, 3)
    further = rt.run(saved, storage=storage, local=True)
    assert read_study(saved)[0]["seeds"] == {"looks": [2, 3, 5], "reached": 3}
    assert seeds_run(further) == {0, 1, 2}


@pytest.mark.slow
def test_running_it_again_finds_its_looks_done(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deciding_at(monkeypatch, 3)
    path = study_file(seeds=LOOKS)
    first = rt.run(path, storage=storage, local=True)
    watching = Watching()
    again = rt.run(path, storage=storage, local=True, display=watching)
    assert [len(plan.todo) for plan in watching.plans] == [0, 0]
    assert again.looks() == first.looks()
    assert again.table("metrics").equals(first.table("metrics"))


@pytest.mark.slow
def test_seeds_by_hand_drop_the_plan_and_extend(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = deciding_at(monkeypatch, 2)
    path = study_file(seeds=LOOKS)
    rt.run(path, storage=storage, local=True)
    del judged[:]
    extended = rt.run(path, seeds=6, storage=storage, local=True)
    assert judged == []
    assert (extended.study.looks, extended.looks()) == ((), (2, 6))
    assert seeds_run(extended) == set(range(6))


def test_the_progress_says_which_look_and_what_was_open(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deciding_at(monkeypatch, 3)
    stream = io.StringIO()
    rt.run(study_file(seeds=LOOKS), storage=storage, local=True, display=ProgressTable(stream))
    said = stream.getvalue()
    assert "toy/test, look 1 of 3, 2 seeds: 8 cells, 0 done before, 8 to do" in said
    assert "toy/test, look 2 of 3, 3 seeds: 12 cells, 8 done before, 4 to do" in said
    assert "note: the primary was undecided at the look before: rate 0.1" in said
    assert "4/4 cells" in said  # each look counts its own
    assert "12/4" not in said


@pytest.mark.slow
def test_the_primary_decides_and_few_seeds_never_say_that_there_is_nothing(
    study_file: StudyFile, storage: str
) -> None:
    path = study_file(seeds={"looks": [2, 8, 12]}, margin=50.0)
    results = rt.run(path, storage=storage, local=True)
    assert len(results.study.seeds) == 8
    assert undecided_at(results) == ()
    results = rt.run(path, seeds=2, storage=storage, local=True)
    assert undecided_at(results) == ("the only stratum",)
    assert results.looks() == (2, 8)


def test_studies_at_looks_differ_in_their_seeds_alone(study_file: StudyFile) -> None:
    study = rt.load_study(study_file(seeds={"looks": [2, 3, 5], "reached": 3}))
    looks = studies_at_looks(study)
    assert [look.seeds for look in looks] == [(0, 1), (0, 1, 2), (0, 1, 2, 3, 4)]
    assert {look.model_copy(update={"seeds": ()}).to_yaml() for look in looks} == {
        study.model_copy(update={"seeds": ()}).to_yaml()
    }
    assert [look_title(look) for look in looks][1] == "look 2 of 3, 3 seeds"
    plain = rt.load_study(study_file(seeds=3))
    assert (studies_at_looks(plain), look_title(plain)) == ([plain], "")


def test_many_open_strata_are_counted(study_file: StudyFile, storage: str) -> None:
    study = rt.load_study(study_file())
    plan = make_plan(study, find_kind("toy"), ArtifactStore(Storage(storage)), ())
    assert noting(plan, ()) == plan
    (note,) = noting(plan, tuple(f"rate {n}" for n in range(9))).notes
    assert note.endswith("rate 0; rate 1; rate 2; rate 3; 5 more")


def test_looks_at_nothing_that_can_be_decided_are_refused(
    study_file: StudyFile, storage: str
) -> None:
    fields: dict[str, Any] = {"orderings": ["K"], "grid": {"rate": [0.1]}, "seeds": LOOKS}
    with pytest.raises(rt.InputError, match=r"seeds.*no primary"):
        rt.run(study_file(**fields), storage=storage, local=True)
    assert not Path(storage).exists()


@pytest.mark.slow
def test_ray_stays_for_all_looks_and_is_not_asked_for_nothing(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str] = []

    @contextmanager
    def session(address: str) -> Iterator[None]:
        entered.append(f"session {address}")
        yield

    @contextmanager
    def executor(address: str, plan: Plan) -> Iterator[running.Executor]:
        entered.append(f"look {len(plan.study.seeds)}")
        yield running.execute_here

    rooms = {"session": session, "executor": executor}
    monkeypatch.setattr(running, "room", rooms.__getitem__)
    deciding_at(monkeypatch, 3)
    path = study_file(seeds=LOOKS)
    rt.run(path, storage=storage)
    assert entered == ["session local", "look 2", "look 3"]
    rt.run(path, seeds=5, storage=storage)
    del entered[:]
    rt.run(path, storage=storage)
    assert entered == ["look 2", "look 3"]
