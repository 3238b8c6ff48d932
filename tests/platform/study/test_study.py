"""A study: its name, and the cells that follow from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from recalltrap.study.named_studies import load_study
from recalltrap.study.study import Study

StudyFile = Callable[..., str]


@pytest.mark.parametrize(
    "name",
    ["../x", "/abs", "a/../b", "a//b", "..", ".", "a/", "", "a/.hidden", "-x", "a\\b", "a b",
     "a\n", "C:/x", "é", "a/./b"],
)  # fmt: skip
def test_a_name_that_leaves_the_storage_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="can't name a folder"):
        Study(name=name, kind="toy", question="?", orderings=["A"], seeds=1)


def test_equal_studies_have_equal_cells(study_file: StudyFile) -> None:
    """1 and 1.0, a default spelt out, the order of keys: the same cells."""
    plain = load_study(study_file(grid={"kl_weight": [2.0]}, settings={"targets": [3]}))
    other = load_study(study_file(grid={"kl_weight": [2]}, settings={"rate": 0.1, "targets": [3]}))
    assert [c.id for c in plain.cells()] == [c.id for c in other.cells()]


def test_a_copy_with_other_fields_has_other_cells(study_file: StudyFile) -> None:
    study = load_study(study_file(seeds=2))
    more = study.model_copy(update={"seeds": (0, 1, 2)})
    assert {cell.seed for cell in more.cells()} == {0, 1, 2}
    assert {cell.seed for cell in study.cells()} == {0, 1}


def test_where_and_how_it_runs_does_not_count(study_file: StudyFile) -> None:
    plain = load_study(study_file())
    other = load_study(study_file(resources={"cpus_per_trial": 3}, question="Else?", claims=["C2"]))
    assert [c.id for c in plain.cells()] == [c.id for c in other.cells()]


@pytest.mark.parametrize(
    "fields",
    [{"settings": {"iterations": 11}}, {"grid": {"kl_weight": [0.6]}}, {"seeds": [5]},
     {"orderings": ["A"]}, {"settings": {"evaluation_samples": 17}}],
)  # fmt: skip
def test_what_decides_a_result_counts(fields: dict[str, Any], study_file: StudyFile) -> None:
    plain = {cell.id for cell in load_study(study_file()).cells()}
    assert plain.isdisjoint(cell.id for cell in load_study(study_file(**fields)).cells())
