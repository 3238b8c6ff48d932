"""What a claim's test returns: per stratum, and over all strata that the runs hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from recalltrap_analysis.statistics.paired import Estimate

Verdict = Literal["reproduced", "not reproduced", "mixed", "undecided", "not tested"]
DECIDED: tuple[Verdict, ...] = ("reproduced", "not reproduced", "mixed")


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

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many strata have each verdict; untested ones aren't counted."""
        return counts_of(self.strata)

    @property
    def counted(self) -> str:
        """E.g. ``reproduced in 3 of 5 strata, 2 undecided``; empty where nothing was tested."""
        return counted(self.counts)


def all_parts(parts: Sequence[Finding]) -> Verdict:
    """The verdict of a claim with several parts, all of which must hold, in one stratum."""
    found = {part.verdict for part in parts}
    if len(found) == 1:
        return parts[0].verdict
    if found & {"not reproduced", "mixed"}:  # an interval excludes a part; does another one hold?
        return "mixed" if found & {"reproduced", "mixed"} else "not reproduced"
    return "not tested" if "not tested" in found else "undecided"


def over_strata(findings: Sequence[Finding]) -> Verdict:
    """The verdict over strata: theirs where those that are decided agree, else mixed.

    Strata that are undecided or untested don't count while another one is decided.
    """
    found = {finding.verdict for finding in findings}
    decided = [verdict for verdict in DECIDED if verdict in found]
    if not decided:
        return "undecided" if "undecided" in found else "not tested"
    return decided[0] if len(decided) == 1 else "mixed"


def counts_of(findings: Sequence[Finding]) -> dict[Verdict, int]:
    """How many findings have each verdict, in the verdicts' order; without the untested."""
    order: tuple[Verdict, ...] = (*DECIDED, "undecided")
    numbers = {verdict: sum(f.verdict == verdict for f in findings) for verdict in order}
    return {verdict: number for verdict, number in numbers.items() if number}


def counted(counts: dict[Verdict, int]) -> str:
    """The counts in words; the first one names the total."""
    total = sum(counts.values())
    words: list[str] = []
    for verdict, number in counts.items():
        of = f" of {total} strat{'a' if total > 1 else 'um'}" if not words else ""
        plain = verdict == "undecided" and words  # "2 undecided"
        words.append(f"{number} {verdict}" if plain else f"{verdict} in {number}{of}")
    return ", ".join(words)
