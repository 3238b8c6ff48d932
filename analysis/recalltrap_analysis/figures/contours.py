"""Densities of two-dimensional mixtures, as in the paper's figure 1. Shapes: K components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recalltrap_analysis.figures.style import COLUMN, INK, Array, new_figure, styled
from recalltrap_analysis.figures.tooltips import add_point_tooltip, number

GRID = 121


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians: weights [K], means [K, 2], cholesky [K, 3] = (l11, l21, l22)."""

    title: str
    weights_K: Array
    means_K2: Array
    cholesky_K3: Array


def mixture_density(mixture: Mixture, points_P2: Array) -> Array:
    """The density at P points, shape [P]; L is lower triangular and L·Lᵀ the covariance."""
    l11, l21, l22 = mixture.cholesky_K3.astype(float).T
    offset_PK2 = points_P2[:, None, :] - mixture.means_K2[None, :, :]
    z1_PK = offset_PK2[..., 0] / l11
    z2_PK = (offset_PK2[..., 1] - l21 * z1_PK) / l22
    component_PK = np.exp(-0.5 * (z1_PK**2 + z2_PK**2)) / (2 * np.pi * np.abs(l11 * l22))
    return np.asarray(component_PK @ mixture.weights_K.astype(float))


def mixture_contours(
    axes: Axes, mixture: Mixture, extent: tuple[float, float], levels: Array
) -> None:
    """Draw one mixture: filled contours at the given densities, and its components' means.

    Args:
        axes: Where to draw.
        mixture: What to draw.
        extent: The square's side on both axes, in the mixture's units.
        levels: Increasing densities, shared by the panels that shall be compared.
    """
    side = np.linspace(*extent, GRID)
    x, y = np.meshgrid(side, side)
    points_P2 = np.stack([x.ravel(), y.ravel()], axis=1)
    density = mixture_density(mixture, points_P2).reshape(GRID, GRID)
    axes.contourf(x, y, density, levels=levels, cmap="Blues", extend="max")
    axes.contour(x, y, density, levels=levels[1:], colors="#08306b", linewidths=0.4)
    heavy = mixture.weights_K / mixture.weights_K.sum()
    x_K, y_K = mixture.means_K2.T
    axes.scatter(x_K, y_K, s=4 + 40 * heavy, c="none", edgecolors="#D55E00", lw=0.9)
    for at_x, at_y, weight in zip(x_K, y_K, heavy, strict=True):
        words = f"{mixture.title}: a component at ({number(at_x)}, {number(at_y)}), weight "
        add_point_tooltip(axes, at_x, at_y, words + number(weight))
    axes.set_title(mixture.title)
    axes.set_aspect("equal")
    whole = int(extent[1])
    axes.set_xticks([-whole, 0, whole])
    axes.set_yticks([-whole, 0, whole])
    axes.set_xlim(*extent)
    axes.set_ylim(*extent)


def contour_panels(
    mixtures: Sequence[Mixture], circles: Array | None = None, radius: float = 0.5
) -> Figure:
    """One panel per mixture on common axes and levels.

    Args:
        mixtures: What to draw, in order.
        circles: Centres of the target modes, shape [T, 2], drawn as rings.
        radius: The rings' radius.
    """
    columns = 3 if len(mixtures) in (5, 6) else min(4, len(mixtures))
    rows = -(-len(mixtures) // columns)
    reach = _reach(mixtures)
    # log-spaced levels: a mode that has lost nine tenths of its weight should still be seen
    levels = np.geomspace(0.004, 1.2, 9) / max(1.0, reach / 1.7) ** 2
    side = min(2.4, (COLUMN - 0.4) / columns)
    with styled():
        figure, axes = new_figure(COLUMN, (1.05 * side + 0.15) * rows, rows, columns)
        flat = [panel for row in axes for panel in row]
        for panel, mixture in zip(flat, mixtures, strict=False):
            mixture_contours(panel, mixture, (-reach, reach), levels)
            for centre in circles if circles is not None else ():
                ring = np.linspace(0, 2 * np.pi, 60)
                edge = (centre[0] + radius * np.cos(ring), centre[1] + radius * np.sin(ring))
                panel.plot(*edge, color="#009E73", lw=1.2)
        for panel in flat[len(mixtures) :]:
            panel.set_axis_off()
        for panel in flat[: len(mixtures)]:
            panel.tick_params(colors=INK, length=2)
    return figure


def _reach(mixtures: Sequence[Mixture]) -> float:
    """Half the side of a square around the origin that holds nearly all of every mixture."""
    furthest, wide = 0.0, 0.0
    for mixture in mixtures:
        l11, l21, l22 = mixture.cholesky_K3.astype(float).T
        sd_K2 = np.stack([np.abs(l11), np.hypot(l21, l22)], axis=1)
        furthest = max(furthest, float(np.abs(mixture.means_K2).max()))
        wide = max(wide, float((np.abs(mixture.means_K2) + 2.5 * sd_K2).max()))
    return min(wide, furthest + 1.2)  # one broad component shouldn't shrink all the others
