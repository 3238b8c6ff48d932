"""Distillations' records: complete, importable, and the first one's name stands in no identity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from recalltrap.errors import InputError
from recalltrap_studies.llm.distillation import registry
from recalltrap_studies.llm.distillation.registry import (
    DISTILLATIONS,
    FIRST,
    SETTING,
    Distillation,
    find_distillation,
)
from recalltrap_studies.llm.settings import LlmSettings, distillation_of


@pytest.mark.parametrize("record", DISTILLATIONS.values(), ids=DISTILLATIONS)
def test_every_record_is_complete_and_can_be_imported(record: Distillation) -> None:
    assert find_distillation(record.name) is record
    if record.composed_of:
        assert record.run is None
        parts = [find_distillation(name) for name in record.composed_of]
        assert all(issubclass(record.part, part.part) for part in parts)
    else:
        assert record.run is not None
        assert callable(record.run.load())


def test_only_the_first_is_unnamed() -> None:
    settings = LlmSettings()
    first = DISTILLATIONS[FIRST]
    assert SETTING not in first.config(settings)
    assert replace(first, name="other").config(settings)[SETTING] == "other"


@pytest.mark.parametrize(("field", "missing"), [("settings", "no settings"), ("run", "no run")])
def test_half_a_record_is_refused_with_what_is_missing(
    field: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = replace(DISTILLATIONS[FIRST], **dict[str, Any]({field: None}))
    monkeypatch.setitem(registry.DISTILLATIONS, FIRST, half)
    with pytest.raises(InputError, match=f"distillation '{FIRST}' is not wholly .*: {missing}"):
        distillation_of(LlmSettings())
