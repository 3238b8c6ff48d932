"""Figures as files: every plot of a document becomes SVG and PDF here and nowhere else."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Literal

from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from recalltrap_analysis.figures.style import styled
from recalltrap_analysis.report.document.blocks import Document, Plot
from recalltrap_analysis.runs.loaded_run import first_line


def rendered(document: Document) -> Document:
    """The same document with the files of its figures.

    A figure that can't be laid out is a fault of ours: it is named in its place and costs neither
    the others nor the report.
    """
    return document.with_plots(_rendered)


def _rendered(plot: Plot) -> Plot:
    if plot.figure is None:
        return plot
    try:
        svg, pdf = (render(plot.figure, kind, plot.stem) for kind in ("svg", "pdf"))
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        caption = f"This figure can't be drawn: a bug in recalltrap ({reason})."
        return replace(plot, figure=None, caption=caption)
    return replace(plot, svg=svg, pdf=pdf)


def render(figure: Figure, kind: Literal["svg", "pdf"], stem: str) -> bytes:
    """The figure's file, byte for byte the same for the same numbers.

    Lays the figure out once and prints straight through the backend: `savefig` draws everything
    twice for each file.
    """
    buffer = io.BytesIO()
    figure.dpi = 72  # what both backends print at, so that the layout holds for them
    with styled(**{"svg.hashsalt": stem}):
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")
        if kind == "svg":
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
        else:
            metadata = {"CreationDate": None, "ModDate": None}
            FigureCanvasPdf(figure).print_pdf(buffer, metadata=metadata)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def inline_svg(svg: bytes, stem: str, alternative: str) -> str:
    """An SVG file as an element of a page: own ids, scalable, with an alternative text.

    `alternative` is plain text; it is escaped here.
    """
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{stem}-', text)
    text = re.sub(r'href="#', f'href="#{stem}-', text)
    text = text.replace("url(#", f"url(#{stem}-")
    head, rest = text.split(">", 1)
    size = re.search(r'width="([\d.]+)pt"', head)
    width = f"--natural:{float(size.group(1)) * 4 / 3:.0f}px" if size else ""
    head = re.sub(r'\s(width|height)="[\d.]+pt"', "", head)
    label = re.sub(r"[&<>\"]", lambda match: f"&#{ord(match.group())};", alternative)
    return f'{head} role="img" aria-label="{label}" style="{width}">{rest}'
