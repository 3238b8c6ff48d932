"""All effects of a run as one frame, each with its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from recalltrap.errors import InputError
from recalltrap.registry import room
from recalltrap_analysis.estimates.contrasts import EQUAL_KL_WEIGHT
from recalltrap_analysis.estimates.experiment import PARTS, TITLES
from recalltrap_analysis.statistics.margin import LARGER, SMALLER, UNDECIDED, WITHIN
from recalltrap_analysis.verdicts.effects import effects

if TYPE_CHECKING:
    from tests.analysis.conftest import MakeRun

ORDERINGS = ("K-A", "A-K", "A", "K-A@p'")


def test_columns_and_words(make_run: MakeRun) -> None:
    run = make_run(
        order_effect=lambda p: 0.1 * p["kl_weight"] - 0.05, orderings=ORDERINGS, noise=0.002
    )
    table = effects(run)
    wanted = ["contrast", "part", "comparison", "kl_weight", "value", "low", "high", "n", "words"]
    assert set(wanted) <= set(table.columns)
    assert set(table["contrast"]) == {"A-K − K-A", "A − K-A", "K-A@p' − K-A"}
    order = table[
        (table["contrast"] == "A-K − K-A")
        & (table["comparison"] == EQUAL_KL_WEIGHT)
        & (table["metric"] == "attainment")
    ]
    whole = order[order["part"] == "difference"]
    words = dict(zip(whole["kl_weight"], whole["words"], strict=True))
    assert words == {0.5: WITHIN, 1.0: UNDECIDED, 2.0: LARGER}
    values = dict(zip(whole["kl_weight"], whole["value"], strict=True))
    assert (table["lower"].isna() | (table["lower"] <= table["value"])).all()
    assert (table["low"].isna() | (table["low"] <= table["lower"])).all()
    for weight in (0.5, 1.0, 2.0):
        rows = order[order["kl_weight"] == weight]
        parts = rows[rows["part"].isin([TITLES[part] for part in PARTS])]
        assert len(parts) == len(PARTS)
        assert parts["value"].sum() == pytest.approx(values[weight], abs=1e-12)
    assert set(table[table["metric"] != "attainment"]["words"]) == {""}


def test_any_contrast_margin_and_budget(make_run: MakeRun) -> None:
    run = make_run(order_effect=lambda p: 0.3, orderings=ORDERINGS)
    table = effects(run, contrasts=[("K-A", "A-K")], margin=0.1)
    assert set(table["contrast"]) == {"K-A − A-K"}
    equal = table[(table["comparison"] == EQUAL_KL_WEIGHT) & (table["metric"] == "attainment")]
    assert set(equal["words"]) == {SMALLER}
    wide = effects(run, contrasts=[("K-A", "A-K")], margin=0.5)
    assert set(wide[wide["value"].notna() & (wide["metric"] == "attainment")]["words"]) == {WITHIN}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"contrasts": [("A-K", "K-B")]}, "no ordering 'K-B'"),
        ({"contrasts": ["A-K"]}, "two orderings"),
        ({"contrasts": [("A-K", "A-K")]}, "two orderings"),
        ({"margin": -0.1}, "margin must be"),
        ({"recall_budget": float("nan")}, "recall_budget must be"),
    ],
)
def test_wrong_questions_are_refused(
    make_run: MakeRun, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        effects(make_run(seeds=3), **wrong)


def test_nothing_run_yet_and_nothing_to_compare(make_run: MakeRun) -> None:
    table = effects(make_run(missing=lambda o, s, p: True))
    assert table["value"].isna().all()
    assert set(table["words"]) == {""}
    assert effects(make_run(orderings=("A-K",))).empty


def test_few_seeds_never_say_small(make_run: MakeRun) -> None:
    table = effects(make_run(order_effect=lambda p: 0.0, seeds=4, noise=0.001))
    said = set(table[table["metric"] == "attainment"]["words"]) - {""}
    assert said == {"not seen in 4 seeds"}
    assert set(effects(make_run(order_effect=lambda p: 0.0, seeds=1))["words"]) <= {"", UNDECIDED}


def test_it_is_a_door_of_the_room() -> None:
    assert room("effects") is effects
