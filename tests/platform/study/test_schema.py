from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from recalltrap.study.named_studies import named_studies
from recalltrap.study.schema import study_schema
from recalltrap.study.study_file import read_study

jsonschema = pytest.importorskip("jsonschema")

GOOD: dict[str, Any] = {
    "name": "toy/x",
    "kind": "toy",
    "question": "?",
    "orderings": ["K-A", {"name": "own", "stages": ["align", "align@p'"]}],
    "seeds": 2,
    "grid": {"kl_weight": [1.0, 2]},
    "settings": {"iterations": 3, "targets": [1]},
    "resources": {"cpus_per_trial": 2},
    "primary": {"contrast": ["own", "K-A"], "at": 2},
    "contrasts": [["own", "K-A"], ["K-A", "own"]],
    "margin": 0,
    "recall_budget": 1.5,
}


@cache
def validator() -> Any:
    schema = study_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", list(named_studies()))
def test_every_named_study_fits(name: str) -> None:
    study, _ = read_study(named_studies()[name].path)
    assert not list(validator().iter_errors(study))


@pytest.mark.parametrize(
    "change",
    [{}, {"seeds": {"looks": [2, 5], "reached": 2}}, {"primary": None, "contrasts": None}],
    ids=str,
)
def test_a_study_with_everything_fits(change: dict[str, Any]) -> None:
    assert not list(validator().iter_errors({**GOOD, **change}))


@pytest.mark.parametrize(
    "change",
    [
        {"sedes": 2},
        {"seeds": 0},
        {"seeds": [-1]},
        {"seeds": []},
        {"kind": "nonesuch"},
        {"grid": {"kl_wieght": [1.0]}},
        {"grid": {"kl_weight": []}},
        {"grid": {"kl_weight": 1.0}},
        {"grid": {"kl_weight": ["x"]}},
        {"settings": {"iteratoins": 3}},
        {"settings": {"iterations": 0}},
        {"settings": {"algorithm": "ppo"}},
        {"orderings": ["KA"]},
        {"orderings": [{"name": "x", "stages": ["aling"]}]},
        {"orderings": [{"name": "x", "stage": ["align"]}]},
        {"orderings": []},
        {"resources": {"cpus": 1}},
        {"question": 3},
        {"seeds": {"look": [2, 5]}},
        {"seeds": {"looks": []}},
        {"seeds": {"looks": [1, 5]}},
        {"seeds": {"looks": [2], "reach": 2}},
        {"looks": [2, 5]},
        {"primary": {"at": "mean"}},
        {"primary": {"contrast": ["own", "K-A"], "at": "men"}},
        {"primary": {"contrast": ["own"]}},
        {"contrasts": []},
        {"contrasts": ["own", "K-A"]},
        {"margin": -1},
        {"margin": "wide"},
    ],
    ids=str,
)
def test_what_the_platform_refuses_an_editor_marks(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator().validate({**GOOD, **change})


@pytest.mark.parametrize("field", ["name", "kind", "question", "orderings", "seeds"])
def test_what_must_be_there(field: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator().validate({key: value for key, value in GOOD.items() if key != field})
