"""How a study is to be judged: margin, recall budget, contrasts, primary. Never in a cell's id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recalltrap.errors import InputError
from recalltrap.study.named_studies import load_study
from recalltrap.study.primary import Primary

StudyFile = Callable[..., str]
PAIR = ["A-K", "K-A"]

JUDGING: list[dict[str, Any]] = [
    {"margin": 0.2},
    {"recall_budget": 1.5},
    {"contrasts": [["K-A", "A-K"]]},
    {"primary": {"contrast": PAIR, "at": "slope"}},
    {"primary": {"contrast": PAIR, "at": 2}},
    {"seeds": {"looks": [2, 3]}},
]


@pytest.mark.parametrize("fields", JUDGING, ids=str)
def test_judging_otherwise_leaves_every_cell(fields: dict[str, Any], study_file: StudyFile) -> None:
    plain, other = load_study(study_file()), load_study(study_file(**fields))
    assert plain.content() != other.content()
    assert [cell.id for cell in plain.cells()] == [cell.id for cell in other.cells()]


@pytest.mark.parametrize("fields", JUDGING, ids=str)
def test_a_judged_study_is_written_and_read_as_it_is(
    fields: dict[str, Any], study_file: StudyFile, tmp_path: Any
) -> None:
    study = load_study(study_file(**fields))
    (tmp_path / "again.yaml").write_text(study.to_yaml())
    assert load_study(tmp_path / "again.yaml") == study


def test_a_primary_is_at_the_mean_unless_it_says(study_file: StudyFile) -> None:
    study = load_study(study_file(primary={"contrast": PAIR}))
    assert study.primary == Primary(contrast=("A-K", "K-A"), at="mean")
    assert load_study(study_file()).primary is None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"primary": {"contrast": ["A-K", "KA"]}}, "no ordering 'KA'; did you mean 'K-A'?"),
    ({"primary": {"contrast": ["A-K", "A-K"]}}, "primary.contrast: 'A-K' is compared with itself"),
    ({"primary": {"contrast": ["A-K"]}}, "primary.contrast: a contrast is two orderings"),
    ({"primary": {"contrast": "A-K"}}, "primary.contrast: a contrast is two orderings"),
    ({"primary": {"contrast": PAIR, "at": "men"}}, "primary.at: 'men' is refused: give mean"),
    ({"primary": {"contrast": PAIR, "at": True}}, "primary.at: True is refused"),
    ({"primary": {"contrast": PAIR, "at": -1}}, "primary.at: -1 is refused"),
    ({"primary": {"contrast": PAIR, "at": None}}, "primary.at: None is refused"),
    ({"primary": {"contrast": PAIR, "on": 2}}, "primary.on: unknown field"),
    ({"primary": {"at": "mean"}}, "primary.contrast is missing: add it"),
    ({"primary": "mean"}, "primary: 'mean' is refused"),
    ({"primary": {"contrast": PAIR, "at": 1.0}}, "primary.at: 1.0 is none of the study's KL weig"),
    ({"primary": {"contrast": PAIR, "at": "slope"}, "grid": {"rate": [0.1]}}, "needs two KL wei"),
    ({"contrasts": [["A-K", "A-K"]]}, "contrasts.0: 'A-K' is compared with itself"),
    ({"contrasts": [["A-K", "A"]]}, "contrasts: the study has no ordering 'A'"),
    ({"contrasts": [PAIR, PAIR]}, "contrasts: ('A-K', 'K-A') is listed twice"),
    ({"contrasts": PAIR}, "contrasts.0: a contrast is two orderings"),
    ({"contrasts": [[*PAIR, "K"]]}, "contrasts.0: a contrast is two orderings"),
    ({"contrasts": []}, "contrasts: no contrasts: list pairs"),
    ({"contrasts": 3}, "contrasts: 3 is refused"),
    ({"margin": -0.1}, "margin: -0.1 is refused"),
    ({"margin": True}, "margin: True is refused"),
    ({"margin": "0.1"}, "margin: '0.1' is refused"),
    ({"recall_budget": -1}, "recall_budget: -1 is refused"),
]


@pytest.mark.parametrize(("fields", "said"), WRONG, ids=str)
def test_what_can_judge_nothing_is_refused(
    fields: dict[str, Any], said: str, study_file: StudyFile
) -> None:
    with pytest.raises(InputError) as caught:
        load_study(study_file(**fields))
    assert said in str(caught.value)
    assert "study.yaml:" in str(caught.value)


@pytest.mark.parametrize("text", ["margin=.nan", "margin=.inf", "recall_budget=.nan"])
def test_no_number_is_refused(text: str, study_file: StudyFile) -> None:
    with pytest.raises(InputError, match="not a finite number"):
        load_study(study_file(), text)


@pytest.mark.slow
def test_other_orderings_make_a_file_s_own_primary_void() -> None:
    """`-o orderings=[K]` of a named study is no mistake in its primary."""
    named = load_study("mog/controls")
    assert named.primary is not None
    assert named.contrasts is not None
    alone = load_study("mog/controls", ["orderings=[K-A, K-A-K]"])
    assert alone.primary is None
    assert alone.contrasts is None or all(set(pair) <= {"K-A", "K-A-K"} for pair in alone.contrasts)
    kept = load_study("mog/controls", ["orderings=[A-K, K-A]"])
    assert kept.primary == named.primary
    with pytest.raises(InputError, match=r"primary.*the study has no ordering 'A-K'"):
        load_study("mog/controls", ["orderings=[K-A]", "primary.contrast=[A-K, K-A]"])
    with pytest.raises(InputError, match="the study has no ordering 'A'"):
        load_study("mog/controls", ["orderings=[A-K, K-A]", "contrasts=[[A, K-A]]"])
