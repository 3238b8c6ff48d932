"""`rt.forecast`: references are built once, and the points are the command's."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from toy_kind import KIND

import recalltrap as rt

StudyFile = Callable[..., str]


def test_a_forecast_builds_references_alone_and_once(study_file: StudyFile, storage: str) -> None:
    said: list[str] = []
    found = rt.forecast(study_file(), seeds=2, storage=storage, tell=said.append)
    assert said == ["building 4 references ..."]
    assert sorted(os.listdir(f"{storage}/artifacts")) == ["distill", "sft"]
    assert found.frame()["kl_weight"].tolist() == [0.5, 2.0]
    assert found.frame()["seeds"].tolist() == [2, 2]
    again = rt.forecast(study_file(), seeds=2, storage=storage, tell=said.append)
    assert len(said) == 1
    assert again.table().equals(found.table())
    assert rt.plan(study_file(), seeds=2, storage=storage).reused == 4


def test_it_can_be_printed_and_shown(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(KIND), "check", lambda self, cells: ["a < b"])
    found = rt.forecast(study_file(), seeds=2, storage=storage)
    first, *_, last = str(found).splitlines()
    assert first.split()[:3] == ["kl_weight", "state", "seeds"]
    assert "severity_low" not in first
    assert last == "note: a < b"
    shown = found._repr_html_()
    assert "Forecast of toy/test" in shown
    assert "note: a &lt; b" in shown


def test_what_is_wrong_is_refused_before_anything_is_built(
    study_file: StudyFile, storage: str
) -> None:
    with pytest.raises(rt.InputError):
        rt.forecast(study_file(), overrides=["settings.nope=1"], storage=storage)
    assert not os.path.exists(storage)
