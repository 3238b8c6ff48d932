"""Densities of mixtures in the plane."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from recalltrap_analysis.figures.contours import Mixture, contour_panels, mixture_density


@pytest.fixture
def tilted() -> Mixture:
    return Mixture(
        "tilted",
        np.array([0.7, 0.3]),
        np.array([[0.5, -0.5], [-1.0, 1.0]]),
        np.array([[0.4, 0.3, 0.2], [0.25, 0.0, 0.25]]),
    )


def test_density_integrates_to_one_and_has_the_covariance(tilted: Mixture) -> None:
    side = np.linspace(-4, 4, 401)
    x, y = np.meshgrid(side, side)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    cell = (side[1] - side[0]) ** 2
    density = mixture_density(tilted, points)
    assert density.sum() * cell == pytest.approx(1, abs=1e-6)
    one = Mixture("one", np.ones(1), np.zeros((1, 2)), tilted.cholesky_K3[:1])
    density = mixture_density(one, points) * cell
    lower = np.array([[0.4, 0.0], [0.3, 0.2]])
    found = np.einsum("p,pi,pj->ij", density, points, points)
    np.testing.assert_allclose(found, lower @ lower.T, atol=1e-6)


@pytest.mark.slow
def test_contours_draw_means_and_targets(tilted: Mixture) -> None:
    figure = contour_panels([tilted] * 5, circles=np.array([[1.0, -1.0]]), radius=0.3)
    titled = [axes for axes in figure.axes if axes.get_title()]
    assert len(titled) == 5
    dots = next(c for c in titled[0].collections if isinstance(c, PathCollection))
    np.testing.assert_allclose(np.asarray(dots.get_offsets()), tilted.means_K2)
    ring = np.stack(
        [np.asarray(titled[0].lines[0].get_xdata()), np.asarray(titled[0].lines[0].get_ydata())]
    )
    assert np.hypot(ring[0] - 1, ring[1] + 1) == pytest.approx(0.3)
