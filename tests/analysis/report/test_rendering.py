"""Figures as files, and as elements of a page."""

from __future__ import annotations

from typing import NoReturn
from xml.etree import ElementTree

import numpy as np
from matplotlib.figure import Figure

from recalltrap_analysis.figures.order_effect import Effect, effect_lines
from recalltrap_analysis.report.document.blocks import Chapter, Document, Fold, Plot, Section
from recalltrap_analysis.report.rendering import inline_svg, render, rendered


def small_figure() -> Figure:
    low, high = np.array([0.0, np.nan]), np.array([0.2, np.nan])
    effect = Effect("order effect", np.array([0.1, 0.5]), low, high, np.zeros(2))
    return effect_lines([effect], ["<&>", "2"], "a")


def test_inline_svg_is_well_formed_and_keeps_its_ids_apart() -> None:
    svg = render(small_figure(), "order-effect")[0]
    element = ElementTree.fromstring(inline_svg(svg, "order-effect", 'a "quoted" <text>'))
    assert element.get("aria-label") == 'a "quoted" <text>'
    ids = [node.get("id") for node in element.iter() if node.get("id")]
    assert ids
    assert all(str(name).startswith("order-effect-") for name in ids)
    links = [
        value for node in element.iter() for key, value in node.items() if key.endswith("href")
    ]
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_marks_lie_on_their_points_and_tell_their_numbers() -> None:
    figure = small_figure()
    element = ElementTree.fromstring(render(figure, "order-effect")[0])
    marks = [node for node in element.iter() if node.get("class") == "value"]
    titles = [next(iter(mark)).text for mark in marks]
    assert titles == ["a <&>: order effect 0.1 [0, 0.2]", "a 2: order effect 0.5"]
    x, y = ([float(str(mark.get(name))) for mark in marks] for name in ("data-x", "data-y"))
    axes = figure.axes[0]
    expected = np.asarray(axes.transData.transform([(0, 0.1), (1, 0.5)]))
    np.testing.assert_allclose(x, expected[:, 0], atol=0.06)
    np.testing.assert_allclose(y, figure.get_figheight() * 72 - expected[:, 1], atol=0.06)
    assert x[0] < x[1]
    assert y[0] > y[1]  # downwards, as SVG counts
    assert inline_svg(render(figure, "s")[0], "s", "words").count('role="group"') == 1


def document(figure: Figure) -> Document:
    plots = [
        Plot("order-effect", "a caption", "words", figure),
        Plot("other", "no figure: a reason"),
    ]
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
