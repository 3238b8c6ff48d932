"""What the study's kind adds to a section that all kinds have."""

from __future__ import annotations

from recalltrap_analysis.report.document.blocks import Block
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary


def kind_blocks(
    section: str, run: ReadRun, summary: Summary, *, brief: bool = False
) -> list[Block]:
    """The kind's blocks of one section; `brief` leaves out what shows one seed's models."""
    parts = [part for part in summary.kind.parts if part.section == section]
    return [block for part in parts if part.brief or not brief for block in part.make(run, summary)]
