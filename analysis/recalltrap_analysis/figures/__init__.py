"""The report's figures. Each function draws the numbers that it is given and computes none."""

from recalltrap_analysis.figures.boxplots import BoxPanels, boxplots, reference_check
from recalltrap_analysis.figures.contours import Mixture, contour_panels, mixture_contours
from recalltrap_analysis.figures.effects import (
    decomposition_bars,
    forecast_scatter,
    severity_line,
    severity_map,
)
from recalltrap_analysis.figures.style import inline_svg, render, render_both, save

__all__ = [
    "BoxPanels",
    "Mixture",
    "boxplots",
    "contour_panels",
    "decomposition_bars",
    "forecast_scatter",
    "inline_svg",
    "mixture_contours",
    "reference_check",
    "render",
    "render_both",
    "save",
    "severity_line",
    "severity_map",
]
