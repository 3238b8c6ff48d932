"""What stands in a report: the sections of one run, or of several runs together.

Gathers what the other modules computed into a document; computes nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from recalltrap_analysis.claims.verdict import ClaimVerdict
from recalltrap_analysis.estimates.severity import COMPLETE
from recalltrap_analysis.language.section import language_section
from recalltrap_analysis.number_format import count_text, p_text, point_text, row_interval
from recalltrap_analysis.report.document import (
    Block,
    Chapter,
    Document,
    Fold,
    Items,
    Plot,
    Prose,
    Section,
    grid,
    records,
    slug,
)
from recalltrap_analysis.report.glossary import GLOSSARY
from recalltrap_analysis.report.lacks import lacking
from recalltrap_analysis.report.sections.accounts import (
    cost_section,
    gaps_section,
    provenance_section,
)
from recalltrap_analysis.report.sections.effects import (
    models_section,
    origin_section,
    references_section,
    severity_section,
)
from recalltrap_analysis.report.sections.evidence import claims_section, scaling_section
from recalltrap_analysis.report.sections.outlook import forecast_section
from recalltrap_analysis.runs.loaded_run import ReadRun, first_line
from recalltrap_analysis.verdicts.summary import Summary, summarize

Make = Callable[[], Section | None]


def made(runs: Sequence[ReadRun], named: Sequence[tuple[str, Make]]) -> list[Section]:
    """The sections that there are, in order.

    What a run lacks is a section's own matter. A section that fails all the same is a fault of
    ours: it is shown as such, and costs a finished study neither the others nor its report.
    """
    sections = []
    for key, make in named:
        try:
            found = make()
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            for run in runs:
                run.problems[f"section {key}"] = reason
            text = f"This section can't be shown, by a fault of recalltrap itself ({reason})."
            found = Section(key, key.capitalize(), [Prose(text, "absent", ours=False)])
        if found is not None:
            sections.append(found)
    return sections


def single(run: ReadRun, summary: Summary | None = None) -> Document:
    """The report of one run."""
    summary = _judged(run, summary)
    study = run.study
    lacks: list[str] = []

    def gaps() -> Section:
        lacks.extend(lacking(run, summary))
        return gaps_section(run, summary, lacks)

    sections = made([run], [
        ("severity", lambda: severity_section(summary)),
        ("origin", lambda: origin_section(summary)),
        ("models", lambda: models_section(run, summary, brief=False)),
        ("language", lambda: language_section(run, summary)),
        ("references", lambda: references_section(run, summary, brief=False)),
        ("claims", lambda: claims_section([run])[0]),
        ("forecast", lambda: forecast_section(summary)),
        ("scaling", lambda: scaling_section([summary])),
        ("cost", lambda: cost_section(run, summary)),
        ("gaps", gaps),
        ("provenance", lambda: provenance_section(run, run.study_file())),
    ])  # fmt: skip
    return Document(
        title=study.name,
        question=study.question,
        meta=_about(run, summary),
        verdict=summary.verdict,
        sentence=summary.sentence,
        counts=_counts(run, summary),
        chapters=[Chapter("run", "", sections)],
        glossary=GLOSSARY,
        summary={"studies": [study.name], "lacks": lacks},
    )


def _judged(run: ReadRun, known: Summary | None = None) -> Summary:
    """The run's summary; where its tables can't be used, that is the reason for no verdict."""
    summary = known or summarize(run)
    lost = [name for name in ("planned", "cells", "metrics") if name in run.problems]
    if not lost:
        return summary
    reason = run.problems[lost[0]]
    sentence = f"No verdict: the table {lost[0]} can't be used ({reason})."
    return replace(summary, verdict="no verdict", sentence=sentence, notes=())


def _about(run: ReadRun, summary: Summary) -> str:
    study, points = run.study, len(summary.severity)
    orderings = ", ".join(ordering.name for ordering in study.orderings)
    return (
        f"Study {study.name} of kind {study.kind} · {orderings} · "
        f"{count_text(len(study.seeds), 'seed')} · {count_text(points, 'grid point')}"
    )


def _counts(run: ReadRun, summary: Summary) -> str:
    notes = [*summary.notes]
    reasons: dict[str, list[str]] = {}
    for name, why in run.problems.items():
        reasons.setdefault(why, []).append(name)
    notes += [f"can't be used: {', '.join(names)} ({why})" for why, names in reasons.items()]
    if {"planned", "cells"} & set(run.problems):
        text = f"{count_text(summary.planned, 'cell')} planned; what became of them can't be read"
        return ". ".join([text, *notes]) + "."
    text = (
        f"{summary.succeeded} of {summary.planned} cells succeeded, {summary.failed} failed, "
        f"{summary.missing} not run. "
    )
    return text + (f"{'; '.join(notes)}." if notes else "")


def combined(runs: Sequence[ReadRun], refused: Sequence[str]) -> Document:
    """One report of several runs: a table of verdicts, one ledger, one scaling, then each run."""
    summaries = [_judged(run) for run in runs]
    verdicts: list[ClaimVerdict] = []

    def claims() -> Section:
        section, found = claims_section(runs)
        verdicts.extend(found)
        return section

    together = Chapter("together", "All runs together", made(runs, [
        ("overview", lambda: _overview(runs, summaries, refused)),
        ("claims", claims),
        ("scaling", lambda: scaling_section(summaries)),
    ]))  # fmt: skip
    keys = _unique([slug(run.study.name) for run in runs])
    chapters = [
        _chapter(run, summary, key) for run, summary, key in zip(runs, summaries, keys, strict=True)
    ]
    trapped = sum(summary.verdict in ("trap", "mixed") for summary in summaries)
    held = sum(claim.verdict == "reproduced" for claim in verdicts)
    tested = sum(claim.verdict != "not tested" for claim in verdicts)
    return Document(
        title=f"{len(runs)} studies",
        question=f"What {count_text(len(runs), 'study')} say together",
        meta=", ".join(run.study.name for run in runs),
        verdict="mixed" if trapped else "no verdict",
        sentence=(
            f"{trapped} of {len(runs)} studies show a trap at some or all of their settings. "
            f"{held} of the {tested} claims that these runs can test are reproduced."
        ),
        counts=(
            f"{sum(s.succeeded for s in summaries)} of {sum(s.planned for s in summaries)} cells "
            f"succeeded, {sum(s.failed for s in summaries)} failed, "
            f"{sum(s.missing for s in summaries)} not run."
        ),
        chapters=[together, *chapters],
        glossary=GLOSSARY,
        summary={"studies": [run.study.name for run in runs], "refused": list(refused)},
    )


def _unique(keys: Sequence[str]) -> list[str]:
    return [key if keys.count(key) == 1 else f"{key}-{i + 1}" for i, key in enumerate(keys)]


def _overview(
    runs: Sequence[ReadRun], summaries: Sequence[Summary], refused: Sequence[str]
) -> Section:
    """One row per run: its verdict and its deepest severity."""
    rows, data = [], []
    for run, summary in zip(runs, summaries, strict=True):
        complete = summary.severity[summary.severity["state"] == COMPLETE]
        deepest = None
        if len(complete):
            deepest = complete.iloc[int(complete["severity"].to_numpy().argmax())]
        rows.append(
            {
                "study": run.study.name,
                "verdict": summary.verdict,
                "deepest severity": "–" if deepest is None else row_interval(deepest, "severity"),
                "at": "–" if deepest is None else point_text(deepest["point"], summary.axes),
                "p (Holm)": "–" if deepest is None else p_text(deepest["p_holm"]),
                "seeds": len(run.study.seeds),
                "cells": f"{summary.succeeded} of {summary.planned}",
            }
        )
        one = pd.DataFrame([deepest]) if deepest is not None else pd.DataFrame()
        data.append(
            {"study": run.study.name, "verdict": summary.verdict, "sentence": summary.sentence,
             "deepest": next(iter(records(one)), None), "succeeded": summary.succeeded,
             "planned": summary.planned}
        )  # fmt: skip
    blocks: list[Block] = [grid("studies", pd.DataFrame(rows), data=data)]
    if refused:
        blocks += [Prose("Runs that can't be read, and are not in this report:"), Items(refused)]
    return Section("overview", "Study by study", blocks)


def _chapter(run: ReadRun, summary: Summary, key: str) -> Chapter:
    """A run within a report of several: what one seed's models show is left to its own report."""
    sections = made([run], [
        ("severity", lambda: severity_section(summary)),
        ("origin", lambda: origin_section(summary)),
        ("models", lambda: models_section(run, summary, brief=True)),
        ("language", lambda: language_section(run, summary)),
        ("references", lambda: references_section(run, summary, brief=True)),
        ("forecast", lambda: forecast_section(summary)),
        ("cost", lambda: cost_section(run, summary)),
        ("gaps", lambda: gaps_section(run, summary, lacking(run, summary))),
        ("provenance", lambda: provenance_section(run, run.study_file())),
    ])  # fmt: skip
    intro: list[Block] = [
        Prose(_about(run, summary), "small", ours=False),
        Prose(run.study.question, ours=False),
        Prose(summary.sentence, "caveat", ours=False),
        Prose(_counts(run, summary), "small", ours=False),
    ]
    prefixed = [Section(s.key, s.title, [prefix_stems(b, key) for b in s.blocks]) for s in sections]
    return Chapter(f"run-{key}", run.study.name, prefixed, intro)


def prefix_stems(block: Block, prefix: str) -> Block:
    """The same block with figures whose file names are unique in a report of several runs."""
    if isinstance(block, Plot):
        return replace(block, stem=f"{prefix}-{block.stem}")
    if isinstance(block, Fold):
        return replace(block, blocks=[prefix_stems(inside, prefix) for inside in block.blocks])
    return block
