"""`check_study`: a study's check from its references, written as a page and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
import pyarrow as pa

from recalltrap.graph import Cell
from recalltrap.results.results import run_folder
from recalltrap_analysis.check.findings import Findings, check_findings
from recalltrap_analysis.check.past_errors import past_errors
from recalltrap_analysis.check.sentence import lines, sentence
from recalltrap_analysis.report import writers
from recalltrap_analysis.report.build import write_document
from recalltrap_analysis.report.check.page import check_document, point_table
from recalltrap_analysis.report.check.scored import FOLDER, JSON_FILE
from recalltrap_analysis.runs.protocol import ArtifactReader, ReportWriter
from recalltrap_analysis.verdicts.relative import Asked, AskedRun, relatives


class CheckedStudy(Asked, Protocol):
    """A study with what its check reads of it."""

    @property
    def axes(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class CheckStatement:
    """A study's check as it is told.

    `word` is one of the three of `check.decision`; `sentence` says it, `lines` what stands below.
    `points` has one row per grid point, `json` is the page's content for a machine, and `page` the
    path of what a person reads.
    """

    word: str
    sentence: str
    lines: tuple[str, ...]
    points: pa.Table
    json: str
    page: str
    found: Findings

    def table(self, most: int | None = None) -> pd.DataFrame:
        """The points as text, at most so many, those of the largest anchor parts."""
        return point_table(self.found, most)


def check_study(
    metrics: pa.Table,
    cells: Sequence[Cell],
    store: ArtifactReader,
    storage: ReportWriter,
    study: CheckedStudy,
    costs: Sequence[tuple[str, str]],
    runs: Sequence[AskedRun],
    notes: Sequence[str] = (),
) -> CheckStatement:
    """Check a study by its references and write what was found under its run's reports.

    Args:
        metrics: A `metrics` table of p' and p''.
        cells: The cells whose references stand.
        store: Holds them.
        storage: Where the page goes.
        study: The study.
        costs: What the whole study would take, as `what` and `value`.
        runs: All runs of the storage: what the forecast's error is measured on.
        notes: What the kind has to say of the study; the record's `scope_notes` say the same of
            one that ran.

    Raises:
        InputError: the kind can't be checked, or nothing says what a large reward is.
    """
    found = check_findings(metrics, cells, store, study.axes, study.kind, study.margin)
    said = sentence(found)
    past = past_error_line(found, study, runs)
    document = check_document(study.name, study.question, found, said, costs, past, notes)
    folder = f"{run_folder(study.name)}/{FOLDER}"
    pages = {JSON_FILE: writers.to_json, "index.html": writers.html}
    text, _ = write_document(document, storage, folder, pages)
    points = found.frame.drop(columns="point") if len(found.frame) else pd.DataFrame()
    return CheckStatement(
        word=said.word,
        sentence=said.text,
        lines=(*lines(found), past),
        points=pa.Table.from_pandas(points, preserve_index=False),
        json=text,
        page=storage.display(f"{folder}/index.html"),
        found=found,
    )


def past_error_line(found: Findings, study: CheckedStudy, runs: Sequence[AskedRun]) -> str:
    """How wrong such a forecast was before, in words."""
    settings = list(found.design.settings.values())
    name, weight = found.kind.algorithm, found.kind.kl_weight
    algorithms = list(dict.fromkeys(str(one[name]) for one in settings)) if name else []
    weights = sorted({float(one[weight]) for one in settings}) if weight else []
    near = relatives(study, runs)
    return past_errors(study.kind, algorithms, found.unit, weights, near).line()
