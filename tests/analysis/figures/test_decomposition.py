"""Waterfalls and stacked bars."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from recalltrap_analysis.figures.decomposition import Waterfall, decomposition_bars, waterfalls


def test_bars_stack_to_the_order_effect() -> None:
    parts = {"reference": np.array([0.3, 0.1]), "optimiser_ka": np.array([-0.1, 0.2])}
    order_effect = np.array([0.2, 0.3])
    figure = decomposition_bars(parts, order_effect, ["one", "two"], {"reference": "ref"})
    axes = figure.axes[0]
    bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
    assert [bar.get_x() for bar in bars] == pytest.approx([0, 0, 0, 0.1])
    assert [bar.get_width() for bar in bars] == pytest.approx([0.3, 0.1, -0.1, 0.2])
    diamonds = next(line for line in axes.lines if line.get_marker() == "D")
    assert np.asarray(diamonds.get_xdata()).tolist() == [0.2, 0.3]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]


@pytest.mark.parametrize("controls", [{}, {"K-A-K": (0.5, 0.4, 0.6), "A": (0.7, np.nan, np.nan)}])
def test_waterfall_climbs_from_one_attainment_to_the_other(
    controls: dict[str, tuple[float, float, float]],
) -> None:
    parts = {
        "optimiser_ka": (-0.1, -0.2, 0.0), "reference": (0.4, 0.3, 0.5),
        "optimiser_ak": (0.05, np.nan, np.nan), "last_distillation": (0.1, 0.05, 0.15),
    }  # fmt: skip
    fall = Waterfall("where", (0.3, 0.2, 0.4), parts, (0.75, 0.7, 0.8), controls)
    axes = waterfalls([fall] * 3, {}).axes[0]
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [bar.get_y() for bar in bars[:5]] == pytest.approx([0, 0.3, 0.2, 0.6, 0.65])
    assert [bar.get_height() for bar in bars[:6]] == pytest.approx(
        [0.3, -0.1, 0.4, 0.05, 0.1, 0.75]
    )
    assert bars[4].get_y() + bars[4].get_height() == pytest.approx(0.75)
    labels = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
    assert labels == ["K-A", "A-K", *controls]
    lowest, highest = axes.get_ylim()
    for text in axes.texts:  # a bar's label stays in its panel, clear of the title above
        assert lowest < text.xy[1] < highest - 0.1 * (highest - lowest)  # type: ignore[attr-defined]
    assert sum(bar.get_hatch() is not None and bar.get_hatch() != "" for bar in bars) == len(
        controls
    )
