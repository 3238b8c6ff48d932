from __future__ import annotations

import pickle

import pytest

from recalltrap.errors import InputError, RecalltrapError, StageError, nearest


@pytest.mark.parametrize("error", [InputError("say why"), StageError("nan", "row 3 is NaN")])
def test_errors_survive_pickling(error: RecalltrapError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.args == error.args


def test_a_stage_error_keeps_its_class() -> None:
    back = pickle.loads(pickle.dumps(StageError("oom", "too large")))
    assert (back.failure, back.message) == ("oom", "too large")


def test_nearest_names_the_closest_or_all() -> None:
    assert nearest("kl_wieght", ["kl_weight", "rate"]) == "did you mean 'kl_weight'?"
    assert nearest("zzz", ["b", "a"]) == "allowed: 'a', 'b'"
