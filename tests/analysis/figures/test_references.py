"""p' against p''."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from recalltrap_analysis.figures.references import reference_check
from tests.analysis.figures.drawn_boxes import medians


def test_reference_check_joins_the_seeds() -> None:
    recall = (np.array([-2.0, -2.1]), np.array([-3.0, -3.5]))
    hits = (np.array([0.04, 0.05]), np.array([0.01, 0.02]))
    figure = reference_check(["all"], [recall], [hits], ("recall", "hit rate"))
    [lines] = [
        found
        for found in figure.axes[0].collections
        if isinstance(found, LineCollection) and found.get_linewidth() == [0.5]
    ]
    joins = [tuple(segment[:, 1].tolist()) for segment in lines.get_segments()]
    assert joins == [(-2.0, -3.0), (-2.1, -3.5)]
    assert medians(figure.axes[1]) == pytest.approx([0.045, 0.015])
