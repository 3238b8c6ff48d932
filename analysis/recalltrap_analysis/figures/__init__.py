"""The report's figures. Each function draws the numbers that it is given and computes none."""

from recalltrap_analysis.figures.boxplots import BoxPanels, boxplots, reference_check
from recalltrap_analysis.figures.contours import Mixture, contour_panels, mixture_contours
from recalltrap_analysis.figures.curves import reward_densities, scaling_curve, selection_curves
from recalltrap_analysis.figures.effects import (
    decomposition_bars,
    forecast_scatter,
    severity_line,
    severity_map,
)
from recalltrap_analysis.figures.style import inline_svg, render, render_both, save
from recalltrap_analysis.figures.sweeps import temperature_sweep
from recalltrap_analysis.figures.trajectories import trajectories
from recalltrap_analysis.figures.waterfalls import Waterfall, waterfalls

__all__ = [
    "BoxPanels",
    "Mixture",
    "Waterfall",
    "boxplots",
    "contour_panels",
    "decomposition_bars",
    "forecast_scatter",
    "inline_svg",
    "mixture_contours",
    "reference_check",
    "render",
    "render_both",
    "reward_densities",
    "save",
    "scaling_curve",
    "selection_curves",
    "severity_line",
    "severity_map",
    "temperature_sweep",
    "trajectories",
    "waterfalls",
]
