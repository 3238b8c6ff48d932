"""Figures as files: every plot of a document becomes SVG and PDF here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape

from matplotlib.figure import Figure

from recalltrap_analysis.figures.style import styled
from recalltrap_analysis.figures.tooltips import TooltipFigure
from recalltrap_analysis.report.document.blocks import Document, Plot
from recalltrap_analysis.report.two_files import svg_and_pdf
from recalltrap_analysis.runs.loaded_run import first_line

SMALLEST_MARK = 8.0
"""Points: no mark that shows a number on hover is smaller."""


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
        svg, pdf = render(plot.figure, plot.stem)
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        caption = f"This figure can't be drawn: a bug in recalltrap ({reason})."
        return replace(plot, figure=None, caption=caption)
    return replace(plot, svg=svg, pdf=pdf)


def render(figure: Figure, stem: str) -> tuple[bytes, bytes]:
    """The figure as SVG and as PDF, byte for byte the same for the same numbers.

    Lays the figure out once and draws it once: `savefig` draws everything twice for each file.
    """
    figure.dpi = 72  # what both backends print at, so that the layout holds for them
    with styled(**{"svg.hashsalt": stem}):
        _leave_out_empty_labels(figure)
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")
        svg, pdf = svg_and_pdf(figure)
    if isinstance(figure, TooltipFigure) and figure.tooltips:
        svg = _with_tooltips(svg, figure)
    return svg, pdf


def _leave_out_empty_labels(figure: Figure) -> None:
    """Give labels without a text a place at once.

    To find it, an axis measures all its ticks, twice for the layout and once more to draw; and most
    axes of a grid have no label.
    """
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if not axis.get_label_text():
                axis.set_label_coords(0.0, 0.0)


def _with_tooltips(svg: bytes, figure: TooltipFigure) -> bytes:
    """The figure's file with an invisible mark, and its title, over everything that has numbers.

    A title is what browsers show on hover without any script; the page's script shows the nearest
    one's, and on focus too. Small things get a mark that a pointer can meet.
    """
    marks = []
    for (left, top, width, height), text in figure.placed_tooltips():
        place = f'data-x="{left:.1f}" data-y="{top:.1f}" data-w="{width:.1f}" data-h="{height:.1f}"'
        left, width = _wide_enough(left, width)
        top, height = _wide_enough(top, height)
        marks.append(
            f'<rect class="value" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" rx="2" fill="none" pointer-events="all" {place}>'
            f"<title>{escape(text)}</title></rect>"
        )
    group = f'<g class="values">{"".join(marks)}</g>\n</svg>'
    return svg.decode().rstrip().removesuffix("</svg>").encode() + group.encode() + b"\n"


def _wide_enough(start: float, size: float) -> tuple[float, float]:
    missing = max(0.0, SMALLEST_MARK - size)
    return start - missing / 2, size + missing


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
    head = re.sub(r'\s(width|height)="[\d.]+pt"', "", head)
    label = re.sub(r"[&<>\"]", lambda match: f"&#{ord(match.group())};", alternative)
    role = "group" if 'class="value"' in rest else "img"  # an image has nothing to focus within
    return f'{head} role="{role}" aria-label="{label}">{rest}'
