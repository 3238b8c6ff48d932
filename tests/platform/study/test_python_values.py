"""A value has its field's own type, for every kind; Python code may give numpy's and pandas'."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel, ConfigDict

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap.registry import find_kind, kind_names
from recalltrap.resources import Resources
from recalltrap.settings_parts import Reads
from recalltrap.study.checks import check_settings
from recalltrap.study.python_values import plain_value
from recalltrap.study.study import Study
from recalltrap.study.study_file import Source

StudyFile = Callable[..., str]
# What is no value of a type, though pydantic's usual mode would make one of it.
FOREIGN: dict[type, list[Any]] = {
    bool: [1, 0, "yes", "true", 1.0],
    int: [True, False, "3", 3.0, 3.5],
    float: [True, False, "0.5", "1e-3"],
    str: [True, 3, 0.5],
}


def element_type(annotation: Any) -> type | None:
    """bool, int, float or str of a field, of a list's items, or of its literals."""
    if annotation in FOREIGN:
        return annotation  # type: ignore[no-any-return]
    if get_origin(annotation) is Literal:
        return type(get_args(annotation)[0])
    found = (element_type(part) for part in get_args(annotation))
    return next((kind for kind in found if kind), None)


def wrong_values(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, info in model.model_fields.items():
        kind = element_type(info.annotation)
        assert kind is not None, name
        for value in FOREIGN[kind]:
            listed = get_origin(info.annotation) is tuple
            yield name, [value] if listed else value


@pytest.mark.parametrize("kind", kind_names())
def test_no_setting_takes_a_value_of_another_type(kind: str) -> None:
    """Not from a file, nor as an axis, nor from a Study that Python code made."""
    fields: dict[str, Any] = {"name": "x", "kind": kind, "question": "?", "orderings": ["A"]}
    tried = 0
    for name, value in wrong_values(find_kind(kind).settings):
        for section, given in (("settings", value), ("grid", [value])):
            study = Study(**{**fields, "seeds": 1, section: {name: given}})
            with pytest.raises(InputError, match=rf"{section}\.{name}.*(valid|refused|should be)"):
                check_settings(study, Source(""))
            tried += 1
    assert tried >= 80


@pytest.mark.parametrize(("name", "value"), list(wrong_values(Resources)))
def test_no_resource_takes_a_value_of_another_type(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^-o resources\.{name}=.* is refused"):
        rt.load_study("toy/tiny", {f"resources.{name}": value})


def test_whole_numbers_are_numbers() -> None:
    study = rt.load_study("mog/figure2", {"settings.reward_height": 3, "grid": {"kl_weight": [2]}})
    assert study.cells()[0].factors["reward_height"] == 3.0


class Numbered(BaseModel):
    """A kind's settings with a literal number, which pydantic's strict mode also finds in True."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stage: Literal[1, 2] = 1
    rates: tuple[float, ...] = ()


@pytest.mark.parametrize("value", [True, 1.0, "1"])
def test_a_literal_number_is_that_number(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(frozenset(Numbered.model_fields), {})
    kind = SimpleNamespace(
        name="numbered", settings=Numbered, grouped=False, reads=lambda *_: reads
    )
    monkeypatch.setattr("recalltrap.study.checks.find_kind", lambda name: kind)
    fields: dict[str, Any] = {"name": "x", "kind": "toy", "question": "?", "orderings": ["A"]}
    for part in ({"settings": {"stage": value}}, {"grid": {"stage": [value]}}):
        with pytest.raises(InputError, match="stage"):
            check_settings(Study(**fields, seeds=1, **part), Source("study"))
    check_settings(Study(**fields, seeds=1, settings={"stage": 2, "rates": [1, 0.5]}), Source(""))


# From Python


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (np.int64(2), (0, 1)),
        (np.uint8(2), (0, 1)),
        (np.array(2), (0, 1)),
        (np.arange(2), (0, 1)),
        (np.array([5, 7], np.int32), (5, 7)),
        (range(3, 5), (3, 4)),
        (pd.Series([4, 2]), (4, 2)),
        (pd.Index([4, 2]), (4, 2)),
        (list(np.array([0, 1])), (0, 1)),
        ((1, np.int16(2)), (1, 2)),
    ],
    ids=repr,
)
def test_seeds_from_python(seeds: Any, expected: tuple[int, ...], study_file: StudyFile) -> None:
    assert rt.load_study(study_file(), {"seeds": seeds}).seeds == expected
    fields: dict[str, Any] = {"name": "x", "kind": "toy", "question": "?", "orderings": ["A"]}
    assert Study(**fields, seeds=seeds).seeds == expected


@pytest.mark.parametrize(
    "seeds",
    [True, np.True_, 2.0, np.float64(2.0), np.array([0.0, 1.0]), np.array([True]), "3", {0, 1},
     (number for number in range(2)), range(10**9), np.array([2**63], np.uint64), np.array([[0]]),
     np.datetime64("2026-11-26"), 1j, b"1", [None], -1, np.arange(0), pd.Series(["a"]), object()],
    ids=lambda seeds: repr(seeds).partition(" at 0x")[0][:30],
)  # fmt: skip
def test_what_are_no_seeds(seeds: Any, study_file: StudyFile, storage: str) -> None:
    with pytest.raises(InputError, match="seeds"):
        rt.run(study_file(), seeds=seeds, storage=storage, local=True)
    assert not os.path.exists(storage)


def test_axes_and_settings_from_python(study_file: StudyFile, tmp_path: Path) -> None:
    given = {
        "grid.kl_weight": np.array([0.5, 2.0]),
        "grid.targets": [np.array([1, 2]), pd.Series([3])],
        "settings.iterations": np.int32(5),
        "settings.rate": np.float32(0.5),
        "settings.trouble": tmp_path,
    }
    study = rt.load_study(Path(study_file()), given)
    assert study.grid == {"kl_weight": (0.5, 2.0), "targets": ([1, 2], [3])}
    assert study.settings == {"iterations": 5, "rate": 0.5, "trouble": str(tmp_path)}
    fields: dict[str, Any] = {"name": "x", "kind": "toy", "question": "?", "orderings": ["A"]}
    made = Study(**fields, seeds=1, grid={"kl_weight": np.array([0.5])},
                 settings={"iterations": np.int64(5)})  # fmt: skip
    assert made.cells()[0].factors["iterations"] == 5
    assert made.content()["settings"] == {"iterations": 5}


@pytest.mark.parametrize(
    "overrides",
    ["settings.iterations=7", ["settings.iterations=7"], {"settings.iterations": 7},
     [("settings.iterations", np.int64(7))]],
    ids=repr,
)  # fmt: skip
def test_overrides_in_every_form(overrides: Any, study_file: StudyFile) -> None:
    assert rt.load_study(study_file(), overrides).settings == {"iterations": 7}


@pytest.mark.parametrize("overrides", [[3], {3: 4}, [("a",)], [["a", 1]], [None], {"a\nb": 1}])
def test_what_is_no_override(overrides: Any, study_file: StudyFile) -> None:
    with pytest.raises(InputError) as caught:
        rt.load_study(study_file(), overrides)
    assert len(str(caught.value).splitlines()) == 1


def test_a_study_that_python_made_is_checked_as_a_file_is(
    study_file: StudyFile, storage: str
) -> None:
    study = rt.load_study(study_file())
    again = rt.load_study(study, {"seeds": range(2), "settings.iterations": 4})
    assert (again.seeds, again.settings) == ((0, 1), {"iterations": 4})
    wrong: list[dict[str, Any]] = [
        {"settings": {"iterations": True}}, {"settings": {"nonesuch": 1}},
        {"grid": {"kl_weight": (True,)}}, {"grid": {"iterations": (2**70,)}},
        {"settings": {"trouble": object()}}, {"seeds": tuple(range(100_000))},
        {"settings": {"trouble": "a\x00"}}, {"question": "why " * 200_000},
    ]  # fmt: skip
    for fields in wrong:
        with pytest.raises(InputError, match="study toy/test"):
            rt.run(study.model_copy(update=fields), storage=storage, local=True)
    with pytest.raises(InputError, match="not a set"):
        rt.load_study({"name"})  # type: ignore[arg-type]
    assert not os.path.exists(storage)


def test_a_list_in_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="nested more than"):
        plain_value(loop)


@pytest.mark.parametrize("study", [Path("x" * 300), "x" * 300, "a\x00b", "x/" * 3000, "\ud800"])
def test_a_path_that_no_file_system_takes(study: Any) -> None:
    with pytest.raises(InputError, match=r"neither a named study nor a file|a NUL character"):
        rt.load_study(study)
