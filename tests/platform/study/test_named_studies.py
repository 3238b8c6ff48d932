"""The studies that go by a name."""

from __future__ import annotations

import pytest

from recalltrap.errors import InputError
from recalltrap.registry import kind_names
from recalltrap.study.named_studies import load_study, named_studies


@pytest.mark.parametrize("name", list(named_studies()))
def test_a_named_study_is_sound_and_called_what_it_is_called(name: str) -> None:
    study = load_study(name)
    assert study.name == name
    assert study.kind in kind_names()
    assert study.size > 0


def test_an_unknown_study_gets_a_hint() -> None:
    with pytest.raises(InputError) as caught:
        load_study("toy/tinny")
    message = str(caught.value)
    assert "did you mean 'toy/tiny'?" in message
    assert "`recalltrap studies` lists them" in message
