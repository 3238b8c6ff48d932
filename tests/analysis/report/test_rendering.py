"""Figures as files, and as elements of a page."""

from __future__ import annotations

from typing import NoReturn
from xml.etree import ElementTree

import numpy as np
from matplotlib.figure import Figure

from recalltrap_analysis.figures.severity import severity_line
from recalltrap_analysis.report.document.blocks import Chapter, Document, Fold, Plot, Section
from recalltrap_analysis.report.rendering import inline_svg, render, rendered


def small_figure() -> Figure:
    return severity_line(np.array([0.1]), np.array([0.0]), np.array([0.2]), ["<&>"], "a")


def test_inline_svg_is_well_formed_and_keeps_its_ids_apart() -> None:
    svg = render(small_figure(), "svg", "severity")
    element = ElementTree.fromstring(inline_svg(svg, "severity", 'a "quoted" <text>'))
    assert element.get("aria-label") == 'a "quoted" <text>'
    ids = [node.get("id") for node in element.iter() if node.get("id")]
    assert ids
    assert all(str(name).startswith("severity-") for name in ids)
    links = [
        value for node in element.iter() for key, value in node.items() if key.endswith("href")
    ]
    assert {link.removeprefix("#") for link in links} <= set(ids)


def document(figure: Figure) -> Document:
    plots = [Plot("severity", "a caption", "words", figure), Plot("other", "no figure: a reason")]
    chapter = Chapter("run", "", [Section("one", "One", [plots[0], Fold("more", [plots[1]])])])
    return Document("title", "question?", "", "trap", "", "", [chapter], ())


def files(document: Document) -> list[Plot]:
    found: list[Plot] = []

    def keep(plot: Plot) -> Plot:
        found.append(plot)
        return plot

    document.with_plots(keep)
    return found


def test_files_are_the_same_for_the_same_numbers() -> None:
    first, none = files(rendered(document(small_figure())))
    second, _ = files(rendered(document(small_figure())))
    assert first.svg == second.svg
    assert first.pdf == second.pdf
    assert first.svg.startswith(b"<?xml")
    assert first.pdf.startswith(b"%PDF")
    assert not none.svg


def test_a_figure_that_can_not_be_laid_out_costs_no_other() -> None:
    class Broken(Figure):
        def get_layout_engine(self) -> NoReturn:
            raise ZeroDivisionError("by nothing")

    plot, _ = files(rendered(document(Broken())))
    assert not plot.svg
    assert "a bug in recalltrap (ZeroDivisionError: by nothing)" in plot.caption
