"""`write_report`: one run, or several with one claims ledger, as a page that explains itself.

Hands the document to a writer and writes its files; what stands in it is `contents`' matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from recalltrap.errors import InputError
from recalltrap.garbage import uncollected
from recalltrap_analysis.report import writers
from recalltrap_analysis.report.document.blocks import Document, Plot, slug
from recalltrap_analysis.report.joint_report import joint_report
from recalltrap_analysis.report.redaction import redacted
from recalltrap_analysis.report.rendering import rendered
from recalltrap_analysis.report.run_report import run_report
from recalltrap_analysis.runs.loaded_run import QueryableRun, ReadRun, first_line
from recalltrap_analysis.runs.protocol import ReportWriter
from recalltrap_analysis.verdicts.summary import Summary

FORMATS: Mapping[str, tuple[str, Callable[[Document], str]]] = {
    "html": ("index.html", writers.html),
    "markdown": ("report.md", writers.markdown),
    "json": ("report.json", writers.to_json),
}
LONGEST_NAME = 80


def write_report(
    *runs: QueryableRun,
    form: str = "html",
    summary: Summary | None = None,
    tell: Callable[[str], None] | None = None,
) -> str:
    """Write the report of one run, or of several together; returns the path of its page.

    One run's report goes to `<run>/report/`, that of several to `<storage>/reports/<names>/` in
    the first one's storage, with the figures as SVG and PDF in `figures/` beside the page.

    Args:
        runs: The runs, each once. One that can't be read is named in a report of several.
        form: `html`, `markdown` or `json`: the same content.
        summary: What `summarize` found in the one run, where that is known already.
        tell: Called with the page's text, once it is written.

    Raises:
        InputError: no run can be read, one is named twice, or the format is unknown.
    """
    if form not in FORMATS:
        raise InputError(f"unknown format {form!r}; allowed: {', '.join(FORMATS)}")
    with uncollected():  # nearly all that a report makes is needed to its end
        return _written(runs, form, summary, tell)


def _written(
    runs: Sequence[QueryableRun],
    form: str,
    summary: Summary | None,
    tell: Callable[[str], None] | None,
) -> str:
    read, refused = _read(runs)
    if len(read) == 1 and not refused:
        folder = f"{read[0].run}/report"
        document = run_report(read[0], summary)
    else:
        folder = f"reports/{folder_name([run.study.name for run in read])}"
        document = joint_report(read, refused)
    storage, (name, write) = read[0].storage, FORMATS[form]
    (text,) = write_document(document, storage, folder, {name: write})
    if tell is not None:
        tell(text)
    return storage.display(f"{folder}/{name}")


def write_document(
    document: Document,
    storage: ReportWriter,
    folder: str,
    pages: Mapping[str, Callable[[Document], str]],
) -> list[str]:
    """Write a document's figures and pages; the pages' texts.

    Args:
        document: What to write; its figures are not drawn yet.
        storage: Where to.
        folder: The pages' folder, relative to it.
        pages: What makes each page's text of it, by the page's name.
    """

    def write_files(plot: Plot) -> Plot:
        for kind, data in (("svg", plot.svg), ("pdf", plot.pdf)):
            if data:
                storage.write(f"{folder}/figures/{plot.stem}.{kind}", data)
        return plot

    document = redacted(rendered(document))
    document.with_plots(write_files)
    texts = []
    for name, write in pages.items():
        texts.append(write(document))
        storage.write(f"{folder}/{name}", texts[-1].encode())
    return texts


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
