"""The report of several runs: what they say together, then each run as a chapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from recalltrap_analysis.claims.verdict import ClaimVerdict
from recalltrap_analysis.number_format import count_text
from recalltrap_analysis.report.document.blocks import (
    Block,
    Chapter,
    Document,
    Plot,
    Prose,
    Section,
    slug,
    with_plots,
)
from recalltrap_analysis.report.document.kind_analysis import analysis_of
from recalltrap_analysis.report.glossary import glossary
from recalltrap_analysis.report.run_report import (
    SectionOf,
    about,
    checked_summary,
    counts,
    made,
    sections_of,
)
from recalltrap_analysis.report.sections.claims import claims_sentence, joint_claims_section
from recalltrap_analysis.report.sections.models import (
    final_models_section,
    references_section,
)
from recalltrap_analysis.report.sections.overview import overview_section
from recalltrap_analysis.report.sections.scaling import joint_scaling_section
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import rows_of
from recalltrap_analysis.verdicts.headline import MIXED, NO_VERDICT
from recalltrap_analysis.verdicts.primary import ANCHOR
from recalltrap_analysis.verdicts.summary import Summary

TOGETHER = ("claims", "scaling")
"""Sections that all runs have in common, and no run's chapter has for itself."""


def joint_report(runs: Sequence[ReadRun], refused: Sequence[str]) -> Document:
    """One report of several runs: a table of verdicts, one ledger, one scaling, then each run."""
    summaries = [checked_summary(run) for run in runs]
    verdicts: list[ClaimVerdict] = []

    def claims() -> Section:
        section, judged = joint_claims_section(runs)
        verdicts.extend(judged)
        return section

    together = Chapter("together", "All runs together", made(runs, {
        "overview": lambda: overview_section(runs, summaries, refused),
        "claims": claims,
        "scaling": lambda: joint_scaling_section(summaries),
    }))  # fmt: skip
    keys = _unique([slug(run.study.name) for run in runs])
    chapters = [
        _chapter(run, summary, key) for run, summary, key in zip(runs, summaries, keys, strict=True)
    ]
    words = readings(summaries)
    return Document(
        title=f"{len(runs)} studies",
        question=f"What {count_text(len(runs), 'study')} say together",
        meta=", ".join(run.study.name for run in runs),
        verdict=next(iter(words)) if len(words) == 1 else MIXED if words else NO_VERDICT,
        sentence=f"{readings_sentence(words)} {claims_sentence(verdicts)}",
        counts=(
            f"{sum(s.succeeded for s in summaries)} of {sum(s.planned for s in summaries)} cells "
            f"succeeded, {sum(s.failed for s in summaries)} failed, "
            f"{sum(s.missing for s in summaries)} not run."
        ),
        chapters=[together, *chapters],
        glossary=glossary(
            [analysis_of(run.study.kind) for run in runs],
            [together, *chapters],
            units=[summary.unit for summary in summaries],
        ),
        summary={"studies": [run.study.name for run in runs], "refused": list(refused)},
    )


def readings(summaries: Sequence[Summary]) -> dict[str, int]:
    """How many strata of all runs have each verdict on the primary comparison, most first."""
    counts = Counter(
        str(row["words"])
        for summary in summaries
        for row in rows_of(summary.primary)
        if row["endpoint"] != ANCHOR and row["words"]
    )
    return dict(counts.most_common())


def readings_sentence(words: Mapping[str, int]) -> str:
    """The counts in words; they are counted and not pooled."""
    if not words:
        return "No study's primary comparison has numbers."
    listed = ", ".join(f"{word} in {count}" for word, count in words.items())
    total = sum(words.values())
    strata = "1 stratum" if total == 1 else f"{total} strata"
    return f"The studies' primary comparisons in {strata}: {listed}."


def _unique(keys: Sequence[str]) -> list[str]:
    return [key if keys.count(key) == 1 else f"{key}-{i + 1}" for i, key in enumerate(keys)]


def _chapter(run: ReadRun, summary: Summary, key: str) -> Chapter:
    """A run within a report of several: what one seed's models show is left to its own report."""
    makers: dict[str, SectionOf] = {
        **sections_of(analysis_of(run.study.kind)),
        "models": partial(final_models_section, brief=True),
        "references": partial(references_section, brief=True),
    }
    sections = made(
        [run],
        {key: partial(make, run, summary) for key, make in makers.items() if key not in TOGETHER},
    )

    def prefix(plot: Plot) -> Plot:  # so that the files of two runs have two names
        return replace(plot, stem=f"{key}-{plot.stem}")

    intro: list[Block] = [
        Prose(about(run, summary), "small", ours=False),
        Prose(run.study.question, ours=False),
        Prose(summary.sentence, "caveat", ours=False),
        Prose(counts(run, summary), "small", ours=False),
    ]
    prefixed = [replace(s, blocks=with_plots(s.blocks, prefix)) for s in sections]
    return Chapter(f"run-{key}", run.study.name, prefixed, intro)
