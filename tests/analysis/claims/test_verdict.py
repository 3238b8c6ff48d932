"""How verdicts combine: over the parts of a claim, and over strata."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap_analysis.claims.verdict import (
    DECIDED,
    Finding,
    all_parts,
    counted,
    counts_of,
    over_strata,
)

YES, NO, MIXED, OPEN, UNTESTED = (*DECIDED, "undecided", "not tested")


def of(*verdicts: Any) -> list[Finding]:
    return [Finding(verdict, None, "") for verdict in verdicts]


@pytest.mark.parametrize(
    ("parts", "together"),
    [
        ([YES, YES], YES),
        ([YES, NO], MIXED),
        ([OPEN, NO], NO),
        ([OPEN, YES], OPEN),
        ([MIXED, YES], MIXED),
        ([MIXED, OPEN], MIXED),
        ([UNTESTED, YES], UNTESTED),
        ([OPEN, OPEN], OPEN),
    ],
)
def test_all_parts_must_hold(parts: list[Any], together: str) -> None:
    assert all_parts(of(*parts)) == together


@pytest.mark.parametrize(
    ("strata", "together", "said"),
    [
        ([YES, YES, OPEN, YES, OPEN], YES, "reproduced in 3 of 5 strata, 2 undecided"),
        (
            [NO, YES, OPEN],
            MIXED,
            "reproduced in 1 of 3 strata, not reproduced in 1, 1 undecided",
        ),
        ([NO, OPEN], NO, "not reproduced in 1 of 2 strata, 1 undecided"),
        ([MIXED, YES], MIXED, "reproduced in 1 of 2 strata, mixed in 1"),
        ([OPEN, OPEN, UNTESTED], OPEN, "undecided in 2 of 2 strata"),
        ([YES, UNTESTED], YES, "reproduced in 1 of 1 stratum"),
        ([UNTESTED], UNTESTED, ""),
        ([], UNTESTED, ""),
    ],
)
def test_strata_that_are_decided_make_the_verdict(
    strata: list[Any], together: str, said: str
) -> None:
    assert over_strata(of(*strata)) == together
    assert counted(counts_of(of(*strata))) == said


@given(st.lists(st.sampled_from([*DECIDED, "undecided", "not tested"])), st.integers(1, 5))
def test_an_undecided_stratum_changes_no_decision(strata: list[Any], more: int) -> None:
    before, after = of(*strata), of(*strata, *["undecided"] * more)
    for verdict in DECIDED:
        assert counts_of(before).get(verdict, 0) == counts_of(after).get(verdict, 0)
    if over_strata(before) in DECIDED:
        assert over_strata(after) == over_strata(before)
