"""The forecast against the outcome."""

from __future__ import annotations

import numpy as np

from recalltrap_analysis.figures.forecast import forecast_scatter


def test_forecast_scatter_draws_every_cell() -> None:
    predicted = {"K-A": np.array([1.0, 2.0]), "A-K": np.array([3.0])}
    reached = {"K-A": np.array([1.1, 2.2]), "A-K": np.array([2.5])}
    axes = forecast_scatter(predicted, reached, {}).axes[0]
    points = {
        line.get_label(): (
            np.asarray(line.get_xdata()).tolist(),
            np.asarray(line.get_ydata()).tolist(),
        )
        for line in axes.lines
        if line.get_label() in predicted
    }
    assert points == {"K-A": ([1.0, 2.0], [1.1, 2.2]), "A-K": ([3.0], [2.5])}
