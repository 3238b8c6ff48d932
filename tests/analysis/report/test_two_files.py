"""One walk through a figure writes what matplotlib's own two backends write."""

from __future__ import annotations

import io
import re
import zlib

import numpy as np
import pytest
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from recalltrap_analysis.figures.style import new_figure, styled
from recalltrap_analysis.report.two_files import svg_and_pdf


def everything() -> Figure:
    """Lines, marks, areas, texts, an image, and a colour bar, whose scale is an image too."""
    with styled():
        figure, ((left, right),) = new_figure(7.2, 3.0, 1, 2)
        left.plot([0, 1, 2], [1, 3, 2], "o-", label="a line")
        left.fill_between([0, 1, 2], [0, 1, 1], [2, 4, 3], alpha=0.2)
        left.scatter([0, 1], [2, 2], s=[10, 40])
        left.set_xticks([0, 1, 2], ["one", "two", "three"], rotation=35)
        left.set_ylabel("upwards")
        left.legend()
        image = right.imshow(np.arange(12.0).reshape(3, 4), aspect="auto")
        figure.colorbar(image, ax=right)
        right.set_title("a title\nof two lines")
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.execute(figure)
        figure.set_layout_engine("none")
    return figure


def drawing(pdf: bytes) -> list[tuple[str, list[float]]]:
    """The operators of the page, each with its numbers."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    page = next(text for text in map(_inflated, streams) if b" Tf" in text)
    found = []
    for line in page.decode("latin1").splitlines():
        *numbers, operator = line.split() or [""]
        if operator in ("m", "l", "c", "re", "Tm", "Td", "Do", "S", "f", "B"):
            found.append((operator, [float(n) for n in numbers if re.fullmatch(r"[-\d.]+", n)]))
    return found


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:
        return b""


def test_both_files_are_what_matplotlib_writes() -> None:
    with styled(**{"svg.hashsalt": "s"}):
        svg, pdf = svg_and_pdf(everything())
        own_svg, own_pdf = io.BytesIO(), io.BytesIO()
        figure = everything()
        FigureCanvasSVG(figure).print_svg(own_svg, metadata={"Date": None})  # type: ignore[no-untyped-call]
        FigureCanvasPdf(figure).print_pdf(own_pdf)  # type: ignore[no-untyped-call]
    assert svg == own_svg.getvalue()
    ours, theirs = drawing(pdf), drawing(own_pdf.getvalue())
    assert len(ours) > 50
    assert [operator for operator, _ in ours] == [operator for operator, _ in theirs]
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        # texts are measured as SVG's are: by other hinting, a hundredth of a point apart
        assert one == pytest.approx(other, abs=0.3)
