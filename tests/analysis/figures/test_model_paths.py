"""The models that an ordering passes through."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from recalltrap_analysis.figures.model_paths import ModelPath, model_paths


def test_markers_grow_with_the_spread_over_seeds() -> None:
    path = ModelPath("K-A", ["p'", "p''", "p''_KA"], np.array([-2.0, -3.0, -4.0]),
              np.array([-30.0, -31.0, -10.0]), np.array([0.0, 1.0, 4.0]), 5)  # fmt: skip
    figure = model_paths({(0, 0): [path]}, ["target precision"], ["here"], "recall")
    axes = figure.axes[0]
    wide = next(c for c in axes.collections if isinstance(c, PathCollection))
    np.testing.assert_allclose(
        np.asarray(wide.get_offsets()), np.stack([path.x_M, path.y_M], axis=1)
    )
    sizes = wide.get_sizes()
    assert sizes[0] < sizes[1] < sizes[2]
    assert (sizes[2] - sizes[0]) / (sizes[1] - sizes[0]) == pytest.approx(4)  # area, not radius
    assert {"p''", "p''_KA"} <= {text.get_text() for text in axes.texts}
    arrows = [text for text in axes.texts if text.get_text() == ""]
    assert len(arrows) == 2
