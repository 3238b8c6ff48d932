"""A primary at KL weights that the study doesn't have, refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from recalltrap.errors import InputError
from recalltrap.study.study import Study
from recalltrap_analysis.verdicts.primary_check import check_primary

PAIR = ("A-K", "K-A")


def study(at: Any, kind: str = "mog", **fields: Any) -> Study:
    return Study(
        name="a/b", kind=kind, question="?", orderings=PAIR, seeds=2,
        primary={"contrast": PAIR, "at": at}, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    "fits",
    [study(2, grid={"kl_weight": [0.5, 2.0]}), study("slope", grid={"kl_weight": [0.5, 2.0]}),
     study(3.0, settings={"kl_weight": 3}), study(1.0), study("mean"),
     study(0.7, kind="llm", settings={"kl_weight": 0.7})],
    ids=lambda found: str(found.primary.at),
)  # fmt: skip
def test_a_weight_that_some_cell_has_is_accepted(fits: Study) -> None:
    check_primary(fits)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(study(1.0, grid={"kl_weight": [0.5, 2.0]}), "1.0 is none of the study's KL weights: 0.5, 2"),
     (study(2.0), "2.0 is none of the study's KL weights: 1"),
     (study("slope", grid={"iterations": [5, 9]}), "a slope needs two KL weights"),
     (study("slope", grid={"kl_weight": [2.0]}), "a slope needs two KL weights")],
    ids=lambda found: str(found)[:40],
)  # fmt: skip
def test_another_is_refused_with_those_there_are(wrong: Study, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_primary(wrong)
