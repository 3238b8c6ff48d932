"""Looks at the data: what the launches' records make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recalltrap.results.launch_looks import judged_at, launch_looks, question_of
from recalltrap.study.named_studies import load_study
from recalltrap.study.study import Study

StudyFile = Callable[..., str]


def launch(study: Study, **changed: Any) -> dict[str, Any]:
    return {**launch_looks(study), "ended_at": "2026-11-26", **changed}


def test_one_look_needs_no_adjustment(study_file: StudyFile) -> None:
    study = load_study(study_file(seeds=5))
    assert judged_at(study, []) == judged_at(study, [launch(study)] * 3) == (5,)


def test_an_extension_by_hand_is_a_second_look(study_file: StudyFile) -> None:
    path = study_file()
    launches = [launch(load_study(path, {"seeds": n})) for n in (5, 8)]
    assert judged_at(load_study(path, {"seeds": 12}), launches) == (5, 8, 12)


def test_planned_looks_count_before_they_are_reached(study_file: StudyFile) -> None:
    path = study_file(seeds={"looks": [5, 8, 12], "reached": 5})
    assert judged_at(load_study(path), []) == (5, 8, 12)
    before = [launch(load_study(path, {"seeds": 3}))]
    assert judged_at(load_study(path), before) == (3, 5, 8, 12)


def test_a_launch_that_was_cut_off_or_asked_otherwise_is_no_look(study_file: StudyFile) -> None:
    study = load_study(study_file(seeds=12))
    fewer = load_study(study_file(seeds=5))
    another = load_study(study_file(seeds=5, settings={"iterations": 99}))
    launches = [launch(fewer, ended_at=None), launch(another), {"started_at": "of old", "cells": 3}]
    assert judged_at(study, launches) == (12,)


@pytest.mark.parametrize(
    "fields",
    [{"seeds": 9}, {"seeds": {"looks": [5, 9]}}, {"margin": 0.2}, {"recall_budget": 1.0},
     {"contrasts": [["K-A", "A-K"]]}, {"primary": {"contrast": ["K-A", "A-K"]}}, {"claims": ["C2"]},
     {"resources": {"cpus_per_trial": 2}}, {"question": "Else?"}, {"name": "toy/other"}],
    ids=str,
)  # fmt: skip
def test_the_question_is_what_decides_a_cell_but_its_seed(
    fields: dict[str, Any], study_file: StudyFile
) -> None:
    assert question_of(load_study(study_file(**fields))) == question_of(load_study(study_file()))


@pytest.mark.parametrize(
    "fields",
    [{"settings": {"iterations": 99}}, {"grid": {"kl_weight": [0.5]}}, {"orderings": ["K-A"]}],
    ids=str,
)
def test_what_decides_a_cell_is_another_question(
    fields: dict[str, Any], study_file: StudyFile
) -> None:
    other = question_of(load_study(study_file(**fields)))
    assert other != question_of(load_study(study_file()))
