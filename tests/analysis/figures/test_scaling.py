"""Severity against the recall deficit."""

from __future__ import annotations

import numpy as np

from recalltrap_analysis.figures.scaling import scaling_curve


def test_scaling_curve_draws_points_and_band() -> None:
    x = np.array([0.5, 1.0, 2.0])
    points = (x, x / 4, x / 4 - 0.1, x / 4 + 0.1)
    curve = (x, x / 4, x / 4 - 0.05, x / 4 + 0.05)
    axes = scaling_curve(points, ["a", "a", "b"], curve, "deficit").axes[0]
    drawn = {line.get_label(): np.asarray(line.get_xdata()).tolist() for line in axes.lines}
    assert drawn["a"] == [0.5, 1.0]
    assert drawn["b"] == [2.0]
    assert drawn["fitted"] == x.tolist()
    assert axes.get_xlabel() == "deficit"
    bare = scaling_curve(points, [""] * 3, None, "deficit").axes[0]
    assert "fitted" not in [line.get_label() for line in bare.lines]
