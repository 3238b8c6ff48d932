"""Seeds as a plan of looks: how it is written, what it means, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap.errors import InputError
from recalltrap.study.looks import spell_seeds
from recalltrap.study.named_studies import load_study
from recalltrap.study.study import Study

StudyFile = Callable[..., str]


def toy(seeds: Any) -> Study:
    return Study(name="toy/x", kind="toy", question="?", orderings=["A"], seeds=seeds)


@pytest.mark.parametrize("seeds", [{"looks": [2, 5, 8]}, {"looks": np.array([2, 5, 8])}])
def test_a_plan_of_looks_has_the_seeds_of_the_last(seeds: Any, study_file: StudyFile) -> None:
    for study in (toy(seeds), load_study(study_file(), {"seeds": seeds})):
        assert (study.seeds, study.looks) == (tuple(range(8)), (2, 5, 8))


def test_a_file_and_the_command_line_say_it_alike(study_file: StudyFile) -> None:
    written = load_study(study_file(seeds={"looks": [2, 5]}))
    overridden = load_study(study_file(), ["seeds={looks: [2, 5]}"])
    assert written.looks == overridden.looks == (2, 5)
    assert written.cells() == overridden.cells()


def test_other_seeds_drop_the_plan(study_file: StudyFile) -> None:
    path = study_file(seeds={"looks": [2, 5], "reached": 2})
    for seeds in ("12", "[3, 4]"):
        assert load_study(path, [f"seeds={seeds}"]).looks == ()


@given(st.sets(st.integers(2, 300), min_size=1, max_size=20), st.data())
def test_a_study_at_a_look_is_written_and_read_as_it_is(
    found: set[int], data: st.DataObject
) -> None:
    looks = sorted(found)
    reached = data.draw(st.sampled_from(looks))
    study = toy({"looks": looks}).model_copy(update={"seeds": tuple(range(reached))})
    again = toy(study.content()["seeds"])
    assert (again.looks, again.seeds) == (tuple(looks), tuple(range(reached)))
    assert again.content() == study.content()


def test_seeds_without_looks_are_spelt_shortly() -> None:
    assert spell_seeds((0, 1, 2), ()) == 3
    assert spell_seeds((0, 2), ()) == [0, 2]


WRONG = [
    ({"looks": [5, 3]}, "seeds.looks: 3 follows 5"),
    ({"looks": [5, 5]}, "seeds.looks: 5 follows 5"),
    ({"looks": [1, 5]}, "seeds.looks: a look needs 2 to"),
    ({"looks": []}, "seeds.looks: 0 looks: give 1 to 20"),
    ({"looks": list(range(2, 23))}, "seeds.looks: 21 looks: give 1 to 20"),
    ({"looks": [2.0, 3]}, "seeds.looks: 2.0 is no number"),
    ({"looks": [True, 3]}, "seeds.looks: True is no number"),
    ({"looks": 5}, "seeds.looks: 5 is refused"),
    ({"looks": [2, 300_000]}, "not 300000"),
    ({"look": [5]}, "seeds: unknown field 'look'; did you mean 'looks'?"),
    ({}, "seeds: looks are missing"),
    ({"reached": 3}, "seeds: looks are missing"),
    ({"looks": [5, 8], "reached": 6}, "seeds: reached is one of the looks [5, 8], not 6"),
    ({"looks": [5, 8], "reached": 8.0}, "not 8.0"),
]


@pytest.mark.parametrize(("seeds", "said"), WRONG, ids=str)
def test_what_is_no_plan_is_refused(seeds: Any, said: str, study_file: StudyFile) -> None:
    with pytest.raises(InputError) as caught:
        load_study(study_file(seeds=seeds))
    assert said in str(caught.value)
    assert "study.yaml:" in str(caught.value)


def test_looks_by_themselves_say_where_they_belong(study_file: StudyFile) -> None:
    with pytest.raises(InputError, match=r"looks: no field by itself: write it as seeds\.looks"):
        load_study(study_file(looks=[2, 5]))
