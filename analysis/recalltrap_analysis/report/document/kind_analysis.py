"""What a kind of study adds to the report, beside what its record tells the shared analyses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recalltrap_analysis.report.document.blocks import Block
from recalltrap_analysis.runs.kind_record import KindRecord, record_of
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary


@dataclass(frozen=True)
class KindSection:
    """A section of the report that one kind alone has; none where `make` returns no block.

    `after` is the key of the shared section that it follows.
    """

    key: str
    title: str
    after: str
    make: Callable[[ReadRun, Summary], Sequence[Block]]


@dataclass(frozen=True)
class SectionPart:
    """What one kind adds to a section that all kinds have: figures, tables, paragraphs.

    `section` is the shared section's key. `brief`: also in a report of several runs, which leaves
    out what shows one seed's models.
    """

    section: str
    make: Callable[[ReadRun, Summary], Sequence[Block]]
    brief: bool = True


@dataclass(frozen=True)
class KindAnalysis(KindRecord):
    """A kind's record with what it adds to the report."""

    sections: Sequence[KindSection] = ()
    parts: Sequence[SectionPart] = ()
    glossary: Sequence[tuple[str, str]] = ()
    """Words that its sections use, and what they mean."""


def analysis_of(kind: str) -> KindAnalysis:
    """What a kind adds to the report: nothing where its record doesn't say.

    Raises:
        InputError: the record fails to import.
    """
    record = record_of(kind)
    return record if isinstance(record, KindAnalysis) else KindAnalysis()


def kind_blocks(
    section: str, run: ReadRun, summary: Summary, *, brief: bool = False
) -> list[Block]:
    """The kind's blocks of one section; `brief` leaves out what shows one seed's models."""
    parts = [part for part in analysis_of(run.study.kind).parts if part.section == section]
    return [block for part in parts if part.brief or not brief for block in part.make(run, summary)]
