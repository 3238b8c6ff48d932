"""A study from Python without a file: a mapping or keywords, checked as a file is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap.study.asked_study import StudyFields
from recalltrap.study.study import Study

StudyFile = Callable[..., str]
FIELDS: dict[str, Any] = {
    "name": "toy/mine",
    "kind": "toy",
    "question": "Does it work?",
    "orderings": ["K-A", "A-K"],
    "seeds": 2,
    "grid": {"kl_weight": [0.5, 2.0]},
    "settings": {"iterations": 5},
}


def test_a_mapping_and_keywords_are_what_a_file_is(study_file: StudyFile, storage: str) -> None:
    from_file = rt.run(study_file(**FIELDS), storage=storage, local=True)
    (launch,) = from_file.launches()
    for again in (
        rt.run(FIELDS, storage=storage, local=True),
        rt.run(MappingProxyType(FIELDS), storage=storage, local=True),
        rt.run(**FIELDS, storage=storage, local=True),
    ):
        assert again.study == from_file.study
        assert again.folder == from_file.folder
    assert launch["done_before"] == 0
    assert [one["done_before"] for one in from_file.launches()] == [0, 8, 8, 8]
    assert rt.plan(**FIELDS, storage=storage).todo == 0
    assert rt.plan(FIELDS, seeds=3, storage=storage).todo == 4


def test_plan_and_forecast_take_them_too(storage: str) -> None:
    assert rt.plan(**FIELDS, storage=storage).cells == 8
    forecasts = [
        rt.forecast(FIELDS, storage=storage),
        rt.forecast(**FIELDS, storage=storage),
    ]
    assert [found.study for found in forecasts] == ["toy/mine"] * 2
    assert forecasts[0].table().equals(forecasts[1].table())


def test_the_values_may_be_numpys_and_pandas(tmp_path: Path) -> None:
    given = {
        **FIELDS,
        "orderings": ("K-A", np.str_("A-K")),
        "seeds": range(2),
        "grid": {"kl_weight": np.array([0.5, 2.0]), "targets": [pd.Series([1, 2]), (3,)]},
        "settings": {"iterations": np.int64(5), "trouble": tmp_path},
        "margin": np.float64(0.25),
    }
    study = rt.load_study(given)
    assert study.seeds == (0, 1)
    assert study.grid == {"kl_weight": (0.5, 2.0), "targets": ([1, 2], [3])}
    assert study.settings == {"iterations": 5, "trouble": str(tmp_path)}
    assert study.margin == 0.25
    assert rt.load_study(study.content()) == study


def test_a_mapping_stays_as_it_was() -> None:
    settings = {"iterations": 5}
    given = {**FIELDS, "settings": settings}
    study = rt.load_study(given, {"settings.iterations": 7, "grid.kl_weight": [1.0]})
    assert study.settings == {"iterations": 7}
    assert settings == {"iterations": 5}
    assert given["grid"] == {"kl_weight": [0.5, 2.0]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"settings": {"iterations": "5"}}, ["settings.iterations", "'5'"]),
        ({"settings": {"iteratons": 5}}, ["'iteratons'", "did you mean 'iterations'"]),
        ({"settings": {"iterations": True}}, ["settings.iterations", "True"]),
        ({"settings": {"iterations": float("nan")}}, ["settings.iterations", "nan"]),
        ({"settings": {3: 5}}, ["settings", "the name 3 is a int"]),
        ({"settings": {"trouble": {1, 2}}}, ["settings.trouble", "is a set"]),
        ({"settings": {"trouble": b"x"}}, ["settings.trouble", "is a bytes"]),
        ({"grid": {"kl_weight": []}}, ["grid.kl_weight", "no values"]),
        ({"grid": {"kl_weight": [0.5, -1.0]}}, ["grid.kl_weight", "-1.0"]),
        ({"grid": {"kl_weight": 0.5}}, ["grid.kl_weight", "0.5"]),
        ({"orderings": ["K-B"]}, ["orderings", "K-B"]),
        ({"orderings": range(10**9)}, ["orderings", "1,000,000,000 values"]),
        ({"kind": "tox"}, ["kind", "'tox'", "did you mean 'toy'?"]),
        ({"claims": ["C99"]}, ["claims", "C99"]),
        ({"question": None}, ["question", "None"]),
        ({"name": "../x"}, ["name", "'../x'"]),
        ({"name": 3}, ["name", "3"]),
        ({"margin": -1.0}, ["margin", "-1.0"]),
        ({"seeds": -1}, ["seeds", "-1"]),
        ({"resources": {"workers": 2}}, ["resources.workers", "2"]),
        ({"primary": {"contrast": ["A-K", "A"]}}, ["primary", "'A'"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], words: list[str], storage: str) -> None:
    for asked in (
        lambda: rt.run({**FIELDS, **fields}, storage=storage, local=True),
        lambda: rt.run(**{**FIELDS, **fields}, storage=storage, local=True),
        lambda: rt.plan(**{**FIELDS, **fields}, storage=storage),
    ):
        with pytest.raises(InputError) as caught:
            asked()
        message = str(caught.value)
        assert all(word in message for word in words), message
        assert len(message.splitlines()) == 1
        assert message.startswith(("study toy/mine: ", "the study: ", "study ../x: "))
    assert not os.path.exists(storage)


@pytest.mark.parametrize("missing", ["name", "kind", "question", "orderings", "seeds"])
def test_what_is_missing_is_named(missing: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != missing}
    with pytest.raises(InputError, match=f"study.*: {missing} is missing: add it"):
        rt.plan(**fields)


def test_a_field_that_is_none_has_a_hint() -> None:
    with pytest.raises(InputError, match=r"^seed = 3: no such .*; did you mean 'seeds'\?$"):
        rt.plan("toy/tiny", seed=3)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"^lokal = True: no such .*; did you mean 'local'\?$"):
        rt.run(FIELDS, lokal=True)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"setings: unknown field; did you mean 'settings'\?$"):
        rt.plan({**FIELDS, "setings": {}})
    with pytest.raises(InputError, match="3: a field's name is text"):
        rt.plan({**FIELDS, 3: {}})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="no study is given: give its name"):
        rt.plan()


def test_beside_a_study_keywords_replace_its_fields(storage: str) -> None:
    plan = rt.plan("toy/tiny", seeds=1, orderings=["K-A"], grid={"kl_weight": np.array([3.0])})
    assert plan.cells == 1
    with pytest.raises(InputError, match=r"-o margin=-1: margin: -1 is refused"):
        rt.plan("toy/tiny", margin=-1)


def test_the_keywords_are_the_studys_fields() -> None:
    of_study = set(Study.model_fields) - {"looks", "seeds"}
    assert set(StudyFields.__annotations__) == of_study
