"""`rt.forecast`: references are built once, and the points are the command's."""

from __future__ import annotations

import os
import re
import time
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


def test_long_references_say_how_far_they_are_and_what_is_left(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]

    def later() -> float:
        now[0] += 3.0  # whoever looks at the clock makes it later
        return now[0]

    monkeypatch.setattr(time, "monotonic", later)
    said: list[str] = []
    rt.forecast(study_file(), seeds=2, storage=storage, tell=said.append)
    assert said[0] == "building 4 references ..."
    lines = [line for line in said[1:] if "trials of references" in line]
    assert len(lines) == len(said) - 1 > 0
    assert re.match(r"\d/\d trials of references, \d+ seconds; .*: (sft|distill)", lines[0])


def test_it_can_be_printed_and_shown(
    study_file: StudyFile, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(KIND), "check", lambda self, cells: ["a < b"])
    found = rt.forecast(study_file(), seeds=2, storage=storage)
    what, says, lacks, head, *_, last = str(found).splitlines()
    assert "anchor part" in what
    assert "not of the order effect" in what
    assert says.startswith("Of 2 grid points, on a margin of 0.05 in attainment: ")
    assert lacks.startswith("Best of n is lacking: this kind of study keeps no rewards")
    assert head.split()[:2] == ["kl_weight", "seeds"]
    assert last == "note: a < b"
    shown = found._repr_html_()
    assert "Forecast of toy/test" in shown
    assert "note: a &lt; b" in shown
    assert "not of the order effect" in shown


def test_people_are_shown_ten_grid_points(study_file: StudyFile, storage: str) -> None:
    weights = [0.25 * n for n in range(1, 13)]
    found = rt.forecast(study_file(grid={"kl_weight": weights}), seeds=2, storage=storage)
    assert found.frame()["kl_weight"].tolist() == weights
    assert found.shown.num_rows == 10


def test_what_is_wrong_is_refused_before_anything_is_built(
    study_file: StudyFile, storage: str
) -> None:
    with pytest.raises(rt.InputError):
        rt.forecast(study_file(), overrides=["settings.nope=1"], storage=storage)
    assert not os.path.exists(storage)
