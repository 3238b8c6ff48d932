"""The references p' and p'', before any alignment."""

from __future__ import annotations

from recalltrap_analysis.report.document.blocks import Block, Section
from recalltrap_analysis.report.plots.references import references_plot
from recalltrap_analysis.report.sections.kind_analysis import kind_blocks
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary


def references_section(run: ReadRun, summary: Summary, *, brief: bool = False) -> Section:
    """p' and p'' before any alignment."""
    blocks: list[Block] = [references_plot(run, summary)]
    blocks += kind_blocks("references", run, summary, brief=brief)
    return Section("references", "References before alignment", blocks)
