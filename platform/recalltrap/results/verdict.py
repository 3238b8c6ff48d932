"""What a run's summary concludes, as a small object: the word, its sentence, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass

from recalltrap.results.notebook_html import block, lines


@dataclass(frozen=True)
class Verdict:
    """A run's verdict; printed, it is its sentence.

    `word` is what the primary comparison says in every stratum (`larger than the margin`,
    `within ±margin`, `smaller`, `not larger`, `undecided`, `not seen in n seeds`), `mixed` where
    strata differ, or `no verdict`. `sentence` says it with numbers, and `notes` what keeps it from
    saying more. The counts are of cells.
    """

    study: str
    word: str
    sentence: str
    notes: tuple[str, ...]
    planned: int
    succeeded: int
    failed: int
    missing: int

    def __str__(self) -> str:
        return self.sentence

    def _repr_html_(self) -> str:
        notes = [f"note: {note}" for note in self.notes]
        return block(f"{self.study}: {self.word}", lines([self.sentence, *notes]))
