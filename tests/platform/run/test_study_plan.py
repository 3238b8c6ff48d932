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
