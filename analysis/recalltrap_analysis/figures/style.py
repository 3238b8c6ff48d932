"""One look for all figures: colour-blind-safe, deterministic, without pyplot's global state."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_KNOWN = {"K-A": "#D55E00", "A-K": "#0072B2", "A": "#56B4E9", "K": "#E69F00"}
_OTHERS = ("#009E73", "#CC79A7", "#8C6D31", "#666666")
PART_COLOURS = {
    "last_distillation": "#56B4E9",
    "optimiser_ak": "#009E73",
    "reference": "#D55E00",
    "optimiser_ka": "#CC79A7",
}
P_PRIME, P_SECOND = "#0072B2", "#D55E00"
INK, FAINT = "#222222", "#999999"

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # names come from study files: a dollar sign is a dollar sign
    "svg.fonttype": "none",
    "pdf.fonttype": 3,  # embedding whole fonts took a third of a report's time
}


def styled() -> Any:
    """A context in which figures are made and rendered."""
    return mpl.rc_context(_STYLE)


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure of `rows` × `columns` axes; inches."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=72)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [list(row) for row in axes]


def colour(ordering: str, orderings: Sequence[str]) -> str:
    """The colour of an ordering: its own, or the next free one among `orderings`."""
    if ordering in _KNOWN:
        return _KNOWN[ordering]
    unknown = [name for name in orderings if name not in _KNOWN]
    return _OTHERS[unknown.index(ordering) % len(_OTHERS)]


def render(figure: Figure, kind: Literal["svg", "pdf"], stem: str) -> bytes:
    """The figure's file, byte for byte the same for the same numbers.

    Lays the figure out once and prints straight through the backend: `savefig` draws everything
    twice for each file.
    """
    buffer = io.BytesIO()
    figure.dpi = 72  # what both backends print at, so that the layout holds for them
    with mpl.rc_context(_STYLE | {"svg.hashsalt": stem}):
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


def save(figure: Figure, folder: str | Path, stem: str) -> tuple[Path, Path]:
    """Write `<stem>.svg` and `<stem>.pdf` into a local folder; returns their paths."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = Path(folder) / f"{stem}.svg", Path(folder) / f"{stem}.pdf"
    for path, content in zip(paths, render_both(figure, stem), strict=True):
        path.write_bytes(content)
    return paths


def render_both(figure: Figure, stem: str) -> tuple[bytes, bytes]:
    """The figure as SVG and as PDF, laid out once."""
    return render(figure, "svg", stem), render(figure, "pdf", stem)


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
