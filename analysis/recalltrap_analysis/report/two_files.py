"""A figure drawn once into two files: what matplotlib's backends for SVG and PDF share.

Walking through a figure's artists, ticks and texts costs more than writing down what they draw.
"""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_pdf import PdfFile, RendererPdf
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.figure import Figure

POINTS = 72
"""Per inch: what both backends draw in."""


def svg_and_pdf(figure: Figure) -> tuple[bytes, bytes]:
    """The figure's two files, without dates.

    The figure has been laid out at 72 dots per inch.
    """
    width, height = (float(inches) for inches in figure.get_size_inches())
    text, buffer = io.StringIO(), io.BytesIO()
    file = PdfFile(buffer, metadata={"CreationDate": None, "ModDate": None})  # type: ignore[no-untyped-call]
    try:
        file.newPage(width, height)  # type: ignore[no-untyped-call]
        svg = RendererSVG(  # type: ignore[no-untyped-call]
            width * POINTS, height * POINTS, text, image_dpi=POINTS, metadata={"Date": None}
        )
        pdf = RendererPdf(file, POINTS, height, width)  # type: ignore[no-untyped-call]
        # as both backends have it: a colour bar's scale, say, is an image
        both: Any = MixedModeRenderer(figure, width, height, POINTS, _Both(svg, pdf))  # type: ignore[no-untyped-call]
        figure.draw(both)
        svg.finalize()  # type: ignore[no-untyped-call]
        pdf.finalize()  # type: ignore[no-untyped-call]
        file.finalize()  # type: ignore[no-untyped-call]
    finally:
        file.close()  # type: ignore[no-untyped-call]
    return text.getvalue().encode(), buffer.getvalue()


class _Both(RendererBase):
    """Hands everything to both renderers; measures text, and counts y, as SVG does."""

    def __init__(self, svg: RendererSVG, pdf: RendererPdf) -> None:
        super().__init__()
        self._svg, self._pdf = svg, pdf
        self.width, self.height = svg.width, svg.height

    def new_gc(self) -> GraphicsContextBase:
        # The PDF's keeps more than the SVG's, and is one.
        context: GraphicsContextBase = self._pdf.new_gc()  # type: ignore[no-untyped-call]
        return context

    def open_group(self, s: str, gid: str | None = None) -> None:
        self._svg.open_group(s, gid)  # type: ignore[no-untyped-call]

    def close_group(self, s: str) -> None:
        self._svg.close_group(s)  # type: ignore[no-untyped-call]

    def draw_path(self, *drawn: Any, **options: Any) -> None:
        self._svg.draw_path(*drawn, **options)  # type: ignore[no-untyped-call]
        self._pdf.draw_path(*drawn, **options)  # type: ignore[no-untyped-call]

    def draw_markers(self, *drawn: Any, **options: Any) -> None:
        self._svg.draw_markers(*drawn, **options)  # type: ignore[no-untyped-call]
        self._pdf.draw_markers(*drawn, **options)  # type: ignore[no-untyped-call]

    def draw_path_collection(self, *drawn: Any, **options: Any) -> None:
        self._svg.draw_path_collection(*drawn, **options)  # type: ignore[no-untyped-call]
        self._pdf.draw_path_collection(*drawn, **options)  # type: ignore[no-untyped-call]

    def draw_image(self, *drawn: Any, **options: Any) -> None:
        self._svg.draw_image(*drawn, **options)  # type: ignore[no-untyped-call]
        self._pdf.draw_image(*drawn, **options)  # type: ignore[no-untyped-call]

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: Any,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        self._svg.draw_text(gc, x, y, s, prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]
        upward = self.height - y
        self._pdf.draw_text(gc, x, upward, s, prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]

    def get_text_width_height_descent(
        self, s: str, prop: Any, ismath: Any
    ) -> tuple[float, float, float]:
        size: tuple[float, float, float] = self._svg.get_text_width_height_descent(  # type: ignore[no-untyped-call]
            s, prop, ismath
        )
        return size

    def flipy(self) -> bool:
        return True

    def get_canvas_width_height(self) -> tuple[float, float]:
        return self.width, self.height

    def option_image_nocomposite(self) -> bool:
        return bool(self._svg.option_image_nocomposite())  # type: ignore[no-untyped-call]

    def option_scale_image(self) -> bool:
        return bool(self._svg.option_scale_image())  # type: ignore[no-untyped-call]

    def get_image_magnification(self) -> float:
        return float(self._svg.get_image_magnification())  # type: ignore[no-untyped-call]
