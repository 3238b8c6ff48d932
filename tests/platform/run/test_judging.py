"""Judging a run otherwise: nothing runs again, and what the run says follows the study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import recalltrap as rt
from recalltrap.results.results import Results
from recalltrap.run.display import Silent

StudyFile = Callable[..., str]
PAIR = ["A-K", "K-A"]
JUDGING: list[dict[str, Any]] = [
    {"margin": 50.0},
    {"recall_budget": 0.0},
    {"contrasts": [["K-A", "A-K"]]},
    {"primary": {"contrast": PAIR, "at": 2.0}},
    {"claims": ["C1"]},
]


def words(results: Results) -> set[str]:
    frame = results.effects()
    compared = frame[(frame["comparison"] == "equal KL weight") & (frame["part"] == "difference")]
    return set(compared["words"]) - {""}


@pytest.mark.slow
@pytest.mark.parametrize("fields", JUDGING, ids=str)
def test_nothing_runs_and_the_run_knows_how_it_is_judged(
    fields: dict[str, Any], study_file: StudyFile, storage: str
) -> None:
    first = rt.run(study_file(), storage=storage, local=True)
    before = first.study
    path = study_file(**fields)
    assert rt.plan(path, storage=storage).todo == 0
    again = rt.run(path, storage=storage, local=True)
    launch = again.launches()[-1]
    assert (launch["stages_built"], launch["done_before"], launch["cells"]) == (0, 12, 12)
    kept = rt.open_run(first.folder).study
    assert kept == again.study == rt.load_study(path)
    assert all(getattr(kept, name) != getattr(before, name) for name in fields)
    assert again.table("metrics").equals(first.table("metrics"))


@pytest.mark.slow
def test_the_words_follow_the_studys_margin(study_file: StudyFile, storage: str) -> None:
    rt.run(study_file(seeds=8), storage=storage, local=True)
    wide = rt.run(study_file(seeds=8, margin=50.0), storage=storage, local=True)
    assert words(wide) == {wide.verdict().word} == {"within ±margin"}
    narrow = rt.run(study_file(seeds=8, margin=0.0), storage=storage, local=True)
    assert words(narrow).isdisjoint({"within ±margin"})
    assert narrow.verdict().word != "within ±margin"
    assert narrow.effects(margin=50.0)["words"].tolist() == wide.effects()["words"].tolist()


def test_the_contrasts_and_the_budget_are_the_studys(study_file: StudyFile, storage: str) -> None:
    fields = {"contrasts": [["K-A", "A-K"]], "recall_budget": 0.0}
    results = rt.run(study_file(**fields), storage=storage, local=True)
    assert set(results.effects()["contrast"]) == {"K-A − A-K"}
    assert set(results.effects(contrasts=[("A-K", "K-A")])["contrast"]) == {"A-K − K-A"}
    strict, wide = results.effects(), results.effects(recall_budget=1e6)
    assert strict.to_dict() != wide.to_dict()


@pytest.mark.slow
def test_more_seeds_by_hand_are_another_look(study_file: StudyFile, storage: str) -> None:
    results = rt.run(study_file(seeds=2), storage=storage, local=True)
    assert results.looks() == (2,)
    assert rt.run(study_file(seeds=2), storage=storage, local=True).looks() == (2,)
    assert rt.run(study_file(seeds=3), storage=storage, local=True).looks() == (2, 3)
    assert rt.open_run(results.folder).looks() == (2, 3)


def test_a_launch_that_was_cut_off_is_no_look(study_file: StudyFile, storage: str) -> None:
    class Impatient(Silent):
        def finished(self, pack: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rt.run(study_file(seeds=2), storage=storage, local=True, display=Impatient())
    assert rt.run(study_file(seeds=3), storage=storage, local=True).looks() == (3,)
