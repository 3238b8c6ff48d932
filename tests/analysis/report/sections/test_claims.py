"""What the report says of the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from recalltrap_analysis.claims.verdict import ClaimVerdict, Finding, over_strata
from recalltrap_analysis.report.document.blocks import Fold, Prose
from recalltrap_analysis.report.sections import claims as section


def claim(name: str, *strata: Any) -> ClaimVerdict:
    findings = tuple(Finding(v, None, "why", f"stratum {i}") for i, v in enumerate(strata))
    return ClaimVerdict(
        name, "text", over_strata(findings), None, "effect", "why", (), 0, "", findings
    )


LEDGER = [
    claim("C1", "reproduced", "undecided"),
    claim("C2", "undecided"),
    claim("C3", "reproduced", "not reproduced"),
    claim("C4"),
]


def test_the_sentence_counts_the_claims_that_were_tested() -> None:
    said = section.claims_sentence(LEDGER)
    assert said == "Of the 3 claims that these runs test: 1 reproduced, 1 mixed, 1 undecided."
    assert section.claims_sentence(LEDGER[3:]) == "These runs test no claim."


def test_the_section_counts_strata_and_says_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "ledger", lambda runs: LEDGER)
    found, verdicts = section.joint_claims_section([])
    assert verdicts == LEDGER
    intro, rule, table, first, *_ = found.blocks
    assert isinstance(intro, Prose)
    assert isinstance(rule, Prose)
    assert "3 of 4 claims are tested here: 1 reproduced, 1 undecided, 1 mixed" in intro.text
    assert "margin is 0.05" in rule.text
    rows = table.data  # type: ignore[union-attr]
    assert [row["counted"] for row in rows[:2]] == [
        "reproduced in 1 of 2 strata, 1 undecided",
        "undecided in 1 of 1 stratum",
    ]
    assert rows[0]["counts"] == {"reproduced": 1, "undecided": 1}
    assert isinstance(first, Fold)
    assert "reproduced in 1 of 2 strata" in first.blocks[0].text  # type: ignore[union-attr]
