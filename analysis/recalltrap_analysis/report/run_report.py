"""The report of one run: its sections, in order, and what stands above them.

Every section takes the run and its summary; what they lack is a section's own matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from recalltrap_analysis.estimates.attainment import ATTAINMENT, unit_phrase
from recalltrap_analysis.number_format import count_text
from recalltrap_analysis.report.document.blocks import Chapter, Document, Prose, Section
from recalltrap_analysis.report.glossary import glossary
from recalltrap_analysis.report.sections.claims import claims_section
from recalltrap_analysis.report.sections.costs import cost_section
from recalltrap_analysis.report.sections.decomposition import decomposition_section
from recalltrap_analysis.report.sections.fair_comparisons import fair_comparisons_section
from recalltrap_analysis.report.sections.forecast import forecast_section
from recalltrap_analysis.report.sections.handovers import handovers_section
from recalltrap_analysis.report.sections.kind_analysis import KindAnalysis, KindSection, analysis_of
from recalltrap_analysis.report.sections.missing_cells import missing_cells_section
from recalltrap_analysis.report.sections.models import (
    final_models_section,
    references_section,
)
from recalltrap_analysis.report.sections.order_effect import order_effect_section
from recalltrap_analysis.report.sections.provenance import provenance_section
from recalltrap_analysis.report.sections.scaling import scaling_section
from recalltrap_analysis.report.sections.scorers import scorers_section
from recalltrap_analysis.report.sections.what_to_do import what_to_do_section
from recalltrap_analysis.runs.loaded_run import ReadRun, first_line
from recalltrap_analysis.verdicts.summary import Summary, summarize

SectionOf: TypeAlias = Callable[[ReadRun, Summary], Section | None]

SECTIONS: Mapping[str, SectionOf] = {
    "what-to-do": what_to_do_section,
    "comparisons": fair_comparisons_section,
    "handovers": handovers_section,
    "order-effect": order_effect_section,
    "scorers": scorers_section,
    "origin": decomposition_section,
    "models": final_models_section,
    "references": references_section,
    "claims": claims_section,
    "forecast": forecast_section,
    "scaling": scaling_section,
    "cost": cost_section,
    "gaps": missing_cells_section,
    "provenance": provenance_section,
}
"""The sections that every kind has, by key, in the order of the page."""


def sections_of(kind: KindAnalysis) -> dict[str, SectionOf]:
    """All sections by key, in the order of the page.

    A kind's own section follows the one that it names, or comes last where there is none such.
    """
    makers: dict[str, SectionOf] = {}
    for key, make in SECTIONS.items():
        makers[key] = make
        makers |= {own.key: partial(_own_section, own) for own in kind.sections if own.after == key}
    return makers | {
        own.key: partial(_own_section, own) for own in kind.sections if own.key not in makers
    }


def _own_section(own: KindSection, run: ReadRun, summary: Summary) -> Section | None:
    blocks = own.make(run, summary)
    return Section(own.key, own.title, blocks) if blocks else None


def run_report(run: ReadRun, summary: Summary | None = None) -> Document:
    """The report of one run; `summary` is what `summarize` said of it, where that is known."""
    summary = checked_summary(run, summary)
    kind = analysis_of(run.study.kind)
    makers = {key: partial(make, run, summary) for key, make in sections_of(kind).items()}
    sections = made([run], makers)
    chapters = [Chapter("run", "", sections)]
    details: dict[str, Any] = {
        "studies": [run.study.name],
        "unit": unit_phrase(summary.unit).removeprefix("in "),
        "lacks": [],
    }
    if summary.warning:
        details["warning"] = summary.warning
    for section in sections:
        details |= section.summary
    return Document(
        title=run.study.name,
        question=run.study.question,
        meta=about(run, summary),
        verdict=summary.verdict,
        sentence=summary.sentence,
        counts=counts(run, summary),
        chapters=chapters,
        glossary=glossary([kind], chapters, summary.sentence, [summary.unit]),
        summary=details,
        advice=summary.recommendation.sentence,
    )


def made(
    runs: Sequence[ReadRun], makers: Mapping[str, Callable[[], Section | None]]
) -> list[Section]:
    """The sections that there are, in order.

    What a run lacks is a section's own matter. A section that fails all the same is a fault of
    ours: it is shown as such, and costs a finished study neither the others nor its report.
    """
    sections = []
    for key, make in makers.items():
        try:
            section = make()
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            for run in runs:
                run.problems[f"section {key}"] = reason
            text = f"This section can't be shown: a bug in recalltrap ({reason})."
            section = Section(key, key.capitalize(), [Prose(text, "absent", ours=False)])
        if section is not None:
            sections.append(section)
    return sections


def checked_summary(run: ReadRun, known: Summary | None = None) -> Summary:
    """The run's summary; where its tables can't be used, that is the reason for no verdict."""
    summary = known or summarize(run)
    lost = [name for name in ("planned", "cells", "metrics") if name in run.problems]
    if not lost:
        return summary
    reason = run.problems[lost[0]]
    sentence = f"No verdict: the table {lost[0]} can't be used ({reason})."
    return replace(summary, verdict="no verdict", sentence=sentence, notes=())


def about(run: ReadRun, summary: Summary) -> str:
    study, points = run.study, len(summary.order_effect)
    orderings = ", ".join(ordering.name for ordering in study.orderings)
    return (
        f"Study {study.name} of kind {study.kind} · {orderings} · "
        f"{count_text(len(study.seeds), 'seed')} · {count_text(points, 'grid point')}"
        f"{_unit_told(summary)}"
    )


def _unit_told(summary: Summary) -> str:
    """The unit of rewards, where it is no attainment."""
    return "" if summary.unit == ATTAINMENT else f" · rewards {unit_phrase(summary.unit)}"


def counts(run: ReadRun, summary: Summary) -> str:
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
