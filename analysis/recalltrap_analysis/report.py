"""`write_report`: one run, or several with one claims ledger, as a page that explains itself.

Gathers what the other modules computed into a document and hands it to a writer; computes nothing
itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from recalltrap.errors import InputError
from recalltrap_analysis import writers
from recalltrap_analysis.accounts import cost_section, gaps_section, provenance_section
from recalltrap_analysis.document import (
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
from recalltrap_analysis.evidence import claims_section, scaling_section
from recalltrap_analysis.language import language_section
from recalltrap_analysis.outcomes import label
from recalltrap_analysis.outlook import forecast_section
from recalltrap_analysis.reading import QueryableRun, ReadRun, first_line
from recalltrap_analysis.sections import (
    models_section,
    origin_section,
    references_section,
    severity_section,
)
from recalltrap_analysis.severity import COMPLETE
from recalltrap_analysis.summary import Summary, interval_text, summarize
from recalltrap_analysis.words import GLOSSARY

FORMATS: Mapping[str, tuple[str, Callable[[Document], str]]] = {
    "html": ("index.html", writers.html),
    "markdown": ("report.md", writers.markdown),
    "json": ("report.json", writers.to_json),
}
LONGEST_NAME = 80


def write_report(*runs: QueryableRun, form: str = "html", summary: Summary | None = None) -> str:
    """Write the report of one run, or of several together; returns the path of its page.

    One run's report goes to `<run>/report/`, that of several to `<storage>/reports/<names>/` in
    the first one's storage, with the figures as SVG and PDF in `figures/` beside the page.

    Args:
        runs: The runs, each once. One that can't be read is named in a report of several.
        form: `html`, `markdown` or `json`: the same content.
        summary: What `summarize` found in the one run, where that is known already.

    Raises:
        InputError: no run can be read, one is named twice, or the format is unknown.
    """
    if form not in FORMATS:
        raise InputError(f"unknown format {form!r}; allowed: {', '.join(FORMATS)}")
    read, refused = _read(runs)
    if len(read) == 1 and not refused:
        folder = f"{read[0].run}/report"
        document = single(read[0], summary)
    else:
        folder = f"reports/{folder_name([run.study.name for run in read])}"
        document = combined(read, refused)
    storage = read[0].storage
    for plot in document.plots():
        if plot.svg:
            storage.write(f"{folder}/figures/{plot.stem}.svg", plot.svg)
            storage.write(f"{folder}/figures/{plot.stem}.pdf", plot.pdf)
    name, write = FORMATS[form]
    storage.write(f"{folder}/{name}", write(document).encode())
    return storage.display(f"{folder}/{name}")


def _read(runs: Sequence[QueryableRun]) -> tuple[list[ReadRun], list[str]]:
    """The runs that can be read, and why the others can't."""
    folders = [run.folder for run in runs]
    if twice := sorted({folder for folder in folders if folders.count(folder) > 1}):
        raise InputError(f"named twice: {', '.join(twice)}; name each run once")
    read: list[ReadRun] = []
    refused: list[str] = []
    for run in runs:
        try:
            read.append(ReadRun(run))
        except InputError as error:
            if len(runs) == 1:
                raise
            refused.append(f"{run.folder}: {first_line(error)}")
    if not read:
        raise InputError("; ".join(refused) or "no run to report on")
    return read, refused


def folder_name(names: Sequence[str]) -> str:
    """A folder's name for a report of several runs, the same for the same runs in any order."""
    slugs = sorted(slug(name) for name in names)
    text = "+".join(slugs)
    if len(text) <= LONGEST_NAME:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{slugs[0][:40]}+{len(slugs) - 1}-more-{digest}"


def single(run: ReadRun, summary: Summary | None = None) -> Document:
    """The report of one run."""
    summary = _judged(run, summary)
    study = run.study
    claims, _ = claims_section([run])
    sections = [
        severity_section(summary),
        origin_section(summary),
        models_section(run, summary, brief=False),
        *_language(run, summary),
        references_section(run, summary, brief=False),
        claims,
        forecast_section(summary),
        scaling_section([summary]),
        cost_section(run, summary),
        gaps_section(run, summary),
        provenance_section(run, run.study_file()),
    ]
    return Document(
        title=study.name,
        question=study.question,
        meta=_about(run, summary),
        verdict=summary.verdict,
        sentence=summary.sentence,
        counts=_counts(run, summary),
        chapters=[Chapter("run", "", sections)],
        glossary=GLOSSARY,
        summary={"studies": [study.name]},
    )


def _language(run: ReadRun, summary: Summary) -> list[Section]:
    section = language_section(run, summary)
    return [section] if section is not None else []


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
        f"{_count(len(study.seeds), 'seed')} · {_count(points, 'grid point')}"
    )


def _counts(run: ReadRun, summary: Summary) -> str:
    notes = [*summary.notes]
    reasons: dict[str, list[str]] = {}
    for name, why in run.problems.items():
        reasons.setdefault(why, []).append(name)
    notes += [f"can't be used: {', '.join(names)} ({why})" for why, names in reasons.items()]
    if {"planned", "cells"} & set(run.problems):
        text = f"{_count(summary.planned, 'cell')} planned; what became of them can't be read"
        return ". ".join([text, *notes]) + "."
    text = (
        f"{summary.succeeded} of {summary.planned} cells succeeded, {summary.failed} failed, "
        f"{summary.missing} not run. "
    )
    return text + (f"{'; '.join(notes)}." if notes else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def combined(runs: Sequence[ReadRun], refused: Sequence[str]) -> Document:
    """One report of several runs: a table of verdicts, one ledger, one scaling, then each run."""
    summaries = [_judged(run) for run in runs]
    claims, verdicts = claims_section(runs)
    together = Chapter(
        "together",
        "All runs together",
        [_overview(runs, summaries, refused), claims, scaling_section(summaries)],
    )
    keys = _unique([slug(run.study.name) for run in runs])
    chapters = [
        _chapter(run, summary, key) for run, summary, key in zip(runs, summaries, keys, strict=True)
    ]
    trapped = sum(summary.verdict in ("trap", "mixed") for summary in summaries)
    held = sum(claim.verdict == "reproduced" for claim in verdicts)
    tested = sum(claim.verdict != "not tested" for claim in verdicts)
    return Document(
        title=f"{len(runs)} studies",
        question=f"What {_count(len(runs), 'study').replace('studys', 'studies')} say together",
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
                "deepest severity": "–" if deepest is None else interval_text(deepest, "severity"),
                "at": "–" if deepest is None else label(deepest["point"], summary.axes),
                "p (Holm)": "–" if deepest is None else f"{deepest['p_holm']:.2g}",
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
    sections = [
        severity_section(summary),
        origin_section(summary),
        models_section(run, summary, brief=True),
        *_language(run, summary),
        references_section(run, summary, brief=True),
        forecast_section(summary),
        cost_section(run, summary),
        gaps_section(run, summary),
        provenance_section(run, run.study_file()),
    ]
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
