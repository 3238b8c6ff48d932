"""Where the numbers come from: commit, versions, machine, command and study file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from recalltrap_analysis.report.document.blocks import Block, Code, Fold, Prose, Section, Terms
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import Summary

LONGEST_VALUE = 600


def provenance_section(run: ReadRun, summary: Summary) -> Section:
    """Commit, versions, machine and command of the last launch; the study; all its cells."""
    provenance, study_file = run.provenance(), run.study_file()
    blocks: list[Block] = [
        Prose("Every table and figure above shows the SQL that recomputes its numbers from the "
              "run's Parquet files: run it with `recalltrap query`, and leave out grid points "
              "marked incomplete. For example:"),
        Code(f"recalltrap query {run.folder} \"select * from metrics limit 5\""),
        Terms(flat(provenance)) if provenance
        else Prose("No provenance has been recorded.", "absent"),
    ]  # fmt: skip
    if study_file:
        blocks.append(Fold("The study file", [Code(study_file)]))
    return Section("provenance", "Provenance", blocks)


def flat(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Key and value as text; long values are cut, the full ones stand in the run's folder."""
    rows = []
    for key, value in provenance.items():
        text = _text(value)
        if key == "dirty_diff" and text:
            text = f"{len(text.splitlines())} lines of uncommitted changes"
        rows.append((str(key), text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + " …"))
    return rows


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return json.dumps(value, ensure_ascii=False, default=str)
