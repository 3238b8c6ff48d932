"""Forecasts as lines and outcomes as marks, over the KL weight."""

from __future__ import annotations

import numpy as np

from recalltrap_analysis.figures.forecast import Panel, Series, over_kl_weight
from recalltrap_analysis.figures.tooltips import TooltipFigure


def test_every_series_is_drawn_at_every_weight() -> None:
    line = np.array([[1.0, 2.0, 3.0], [0.5, 1.5, 2.5], [1.5, 2.5, 3.5]])
    marks = np.array([[1.1, np.nan, 3.3], [1.0, np.nan, 3.0], [1.2, np.nan, 3.6]])
    series = [
        Series("optimum", "#0072B2", "line", line),
        Series("best of n", "#0072B2", "dashed", line - 0.2),
        Series("reached", "#D55E00", "marks", marks, "s"),
        Series("also reached", "#009E73", "marks", marks, "D"),
    ]
    figure = over_kl_weight([Panel("3 components", ["0.5", "1", "2"], series)], "kl_weight", "r")
    [axes] = figure.axes
    drawn = {str(one.get_label()): one for one in axes.lines}
    assert set(drawn) == {one.label for one in series}
    assert np.asarray(drawn["optimum"].get_ydata()).tolist() == line[0].tolist()
    assert drawn["best of n"].get_linestyle() == "--"
    assert drawn["reached"].get_marker() == "s"
    # marks at one weight stand beside each other, around the weight's place
    first, second = (np.asarray(drawn[n].get_xdata()) for n in ("reached", "also reached"))
    assert (first < second).all()
    np.testing.assert_allclose((first + second) / 2, [0, 1, 2])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.5", "1", "2"]
    assert isinstance(figure, TooltipFigure)
    assert len(figure.tooltips) == 3 + 3 + 2 + 2
    assert "kl_weight 2: reached, r 3.3" in figure.tooltips[-3].text


def test_a_panel_per_stratum() -> None:
    line = Series("optimum", "#0072B2", "line", np.array([[1.0, -1.0], [0.5, -1.5], [1.5, 0.0]]))
    panels = [Panel(f"{n} components", ["1", "2"], [line]) for n in (2, 3, 4)]
    figure = over_kl_weight(panels, "kl_weight", "anchor part")
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in visible] == ["2 components", "3 components",
                                                      "4 components"]  # fmt: skip
