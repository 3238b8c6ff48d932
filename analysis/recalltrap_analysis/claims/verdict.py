"""What a claim's test returns: per stratum, and over all strata that the runs hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from recalltrap_analysis.statistics.paired import Estimate

Verdict = Literal["reproduced", "not reproduced", "mixed", "not enough seeds", "not tested"]


@dataclass(frozen=True)
class Finding:
    """One test of a claim in one stratum. `stratum` is empty where the runs hold only one."""

    verdict: Verdict
    effect: Estimate | None
    detail: str
    stratum: str = ""
    points: frozenset[int] = field(default=frozenset(), repr=False)
    """The settings whose rows were used, by number in the pool."""


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim of the paper, judged by the runs' tables.

    `effect` belongs to the stratum with the smallest one; `effect_name` says of what. `rows` is
    how many rows `query` returns over the views of `runs` together; cells that several runs share
    count in each. `strata` holds what `verdict` was combined from.
    """

    id: str
    text: str
    verdict: Verdict
    effect: Estimate | None
    effect_name: str
    detail: str
    runs: tuple[str, ...]
    rows: int
    query: str
    strata: tuple[Finding, ...] = ()


def all_parts(parts: Sequence[Finding]) -> Verdict:
    """The verdict of a claim with several parts, all of which must hold, in one stratum."""
    found = {part.verdict for part in parts}
    if len(found) == 1:
        return parts[0].verdict
    if "not reproduced" in found:
        return "mixed" if "reproduced" in found else "not reproduced"
    return "not tested" if "not tested" in found else "not enough seeds"


def over_strata(findings: Sequence[Finding]) -> Verdict:
    """The verdict over strata: theirs where they agree, else mixed. Untested ones don't count."""
    found = {finding.verdict for finding in findings} - {"not tested"}
    if not found:
        return "not tested"
    return next(iter(found)) if len(found) == 1 else "mixed"
