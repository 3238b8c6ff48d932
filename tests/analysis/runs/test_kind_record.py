"""What the analysis knows of a kind: its record, or nothing."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from recalltrap.errors import InputError
from recalltrap_analysis.runs import kind_record
from recalltrap_analysis.runs.kind_record import NO_RECORD, record_of


def test_a_record_that_fails_to_import_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"broken": EntryPoint("broken", "no_such_package:ANALYSIS", "group")}
    monkeypatch.setattr(kind_record, "registered", lambda group: points)
    with pytest.raises(InputError, match="Reinstall the package"):
        record_of("broken")


def test_what_the_shared_analyses_take_from_a_record() -> None:
    mixture, language = record_of("mog"), record_of("llm")
    assert mixture.reward_supremum == "reward_height"
    assert language.reward_supremum is None  # measured
    assert mixture.optimum_check is None  # exact
    assert language.optimum_check is not None
    assert mixture.optimum_note({"algorithm": "ppo"}) == ""
    assert "yardstick" in mixture.optimum_note({"algorithm": "dpo_online"})
    assert record_of("no such kind") is NO_RECORD


def test_a_given_p_prime_limits_what_is_concluded() -> None:
    language, paper = record_of("llm"), {"p_prime_weights": "new", "p_star": "nano-large"}
    assert language.scope_notes(paper) == []
    (only,) = language.scope_notes({**paper, "p_prime_weights": "given"})
    assert "for this p'" in only
    both = language.scope_notes({"p_prime_weights": "given", "p_star": None})
    assert len(both) == 2
    assert "p' itself judges" in both[1]
