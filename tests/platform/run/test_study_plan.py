"""`rt.plan`: the same numbers as the command, in base units, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from toy_kind import KIND

import recalltrap as rt
from recalltrap.kind import CostEstimate

StudyFile = Callable[..., str]


def test_a_plan_counts_what_a_run_would_do(study_file: StudyFile, storage: str) -> None:
    plan = rt.plan(study_file(), storage=Path(storage))
    assert (plan.cells, plan.done, plan.todo) == (12, 0, 12)
    assert {stage.stage: stage.builds for stage in plan.stages}["align"] == 12
    assert not Path(storage).exists()
    rt.run(study_file(), storage=storage, local=True)
    after = rt.plan(study_file(), seeds=range(4), storage=storage)
    assert (after.cells, after.done, after.todo) == (16, 12, 4)
    assert rt.plan(study_file(), storage=storage).stages == ()


def test_amounts_are_numbers_in_the_frame_and_readable_in_print(
    study_file: StudyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = CostEstimate(86_400.0, 10**9, 1e15, gpu_seconds=36_000.0, gpu_decoding=3600.0)
    monkeypatch.setattr(type(KIND), "estimate", lambda self, node: cost)
    plan = rt.plan(study_file(), overrides={"resources.gpus_per_trial": 1})
    frame = plan.frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame["stage"].tolist() == plan.table()["stage"].to_pylist()
    builds = frame["builds"].sum()
    assert frame["bytes"].sum() == builds * 10**9 == plan.total("bytes")
    assert frame["gpu_seconds"].sum() == builds * 36_000
    assert f"{builds} petaFLOP" in str(plan)
    assert f"{builds} GB" in str(plan)
    assert "e+" not in str(plan)


def test_a_finished_plan_has_an_empty_frame(study_file: StudyFile, storage: str) -> None:
    rt.run(study_file(), seeds=1, storage=storage, local=True)
    frame = rt.plan(study_file(), seeds=1, storage=storage).frame()
    assert frame.empty
    assert "builds" in frame.columns


def test_a_notebook_shows_what_print_does(study_file: StudyFile) -> None:
    plan = rt.plan(study_file(), seeds=1)
    shown = plan._repr_html_()
    assert shown.startswith("<div><strong>toy/test</strong>")
    for row in plan.rows()[1:]:
        assert f">{row['what']}</td>" in shown


@pytest.mark.parametrize(
    "wrong", [{"seeds": -1}, {"overrides": "nonsense"}, {"storage": "nonesuch://x/y"}]
)
def test_what_is_wrong_is_an_input_error(study_file: StudyFile, wrong: dict[str, object]) -> None:
    with pytest.raises(rt.InputError):
        rt.plan(study_file(), **wrong)  # type: ignore[arg-type]
    with pytest.raises(rt.InputError):
        rt.plan("toy/tinny")


def said(plan: rt.StudyPlan) -> dict[str, object]:
    return {row["what"]: row["value"] for row in plan.rows()}


def test_a_plan_says_what_its_primary_can_decide_and_what_a_seed_costs(
    study_file: StudyFile, storage: str
) -> None:
    before = said(rt.plan(study_file(seeds=8), storage=storage))
    assert before["primary"] == "A-K − K-A, mean over 2 KL weights"
    assert "guess" in str(before["spread over seeds"])
    assert str(before["a further seed (estimated)"]).endswith("on one core")
    rt.run(study_file(name="toy/relative"), storage=storage, local=True)
    after = said(rt.plan(study_file(seeds=8), storage=storage))
    assert "as found in toy/relative with 3 seeds" in str(after["spread over seeds"])
    assert after["detects with 80% power"] != before["detects with 80% power"]


def test_what_aligns_nothing_has_no_primary(study_file: StudyFile) -> None:
    path = study_file(orderings=["K"], grid={"rate": [0.1, 0.2]})
    plan = rt.plan(path)
    assert plan.primary is None
    assert said(plan)["primary"] == "no contrast: nothing is aligned"
    unlike = rt.plan(study_file(orderings=["A-K", "A"]))
    assert str(said(unlike)["primary"]).startswith("none: write primary")


@pytest.mark.slow
def test_a_plan_of_looks_says_what_each_and_all_cost(study_file: StudyFile, storage: str) -> None:
    path = study_file(seeds={"looks": [2, 3, 6]})
    plan = rt.plan(path, storage=storage)
    assert (plan.cells, plan.todo) == (24, 24)
    assert [(look.seeds, look.todo) for look in plan.looks] == [(2, 8), (3, 4), (6, 12)]
    whole = sum(look.work.core_seconds for look in plan.looks)
    assert whole == pytest.approx(plan.total("core_seconds"))
    rows = said(plan)
    assert str(rows["look 1 of 3: 2 seeds"]).startswith("8 cells to do, ")
    assert str(rows["look 3 of 3: 6 seeds"]).startswith("12 more cells to do, ")
    assert "with 6 seeds (2, 3 and 6 are looked at)" in str(rows["detects with 80% power"])
    rt.run(path, seeds=3, storage=storage, local=True)
    rows = said(rt.plan(path, storage=storage))
    assert (rows["cells to do"], rows["look 1 of 3: 2 seeds"]) == (12, "0 cells to do")


def test_an_extension_by_hand_is_planned_as_another_look(
    study_file: StudyFile, storage: str
) -> None:
    rt.run(study_file(seeds=5), storage=storage, local=True)
    rows = said(rt.plan(study_file(seeds=9), storage=storage))
    assert "with 9 seeds (5 and 9 are looked at)" in str(rows["detects with 80% power"])
    assert "as found in toy/test with 5 seeds" in str(rows["spread over seeds"])


def test_a_damaged_relative_says_nothing(study_file: StudyFile, storage: str) -> None:
    results = rt.run(study_file(name="toy/relative"), storage=storage, local=True)
    Path(results.folder, "study.yaml").write_text("name: [")
    assert "guess" in str(said(rt.plan(study_file(seeds=8), storage=storage))["spread over seeds"])
