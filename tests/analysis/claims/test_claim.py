"""Claims as packages register them."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from recalltrap.errors import InputError
from recalltrap.registry import claim_ids
from recalltrap_analysis.claims import claim as module
from recalltrap_analysis.claims.claim import registered_claims, set_to


def install(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    points = {name: EntryPoint(name, value, "group")}
    monkeypatch.setattr(module, "registered", lambda group: points)


def test_a_study_may_list_every_claim_that_is_judged() -> None:
    claims = registered_claims()
    assert [claim.id for claim in claims] == claim_ids()
    assert {"C1", "C14", "T1"} <= {claim.id for claim in claims}
    assert {claim.kind for claim in claims} == {"mog", "llm", "toy"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_package:X", "can't be imported"),
        ("recalltrap_analysis.mixture.claims:C99", "Reinstall the package"),
        ("recalltrap_analysis.mixture.claims:C1", "the claim C1 is registered as X1"),
    ],
)
def test_a_claim_that_cannot_be_had_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    install(monkeypatch, "X1", value)
    with pytest.raises(InputError, match=said):
        registered_claims()


def test_a_setting_fits_where_it_has_a_value_or_is_not_there() -> None:
    fits = set_to("algorithm", "ppo", "grpo")
    assert fits({"algorithm": "grpo"})
    assert fits({})
    assert not fits({"algorithm": "dpo_online"})
