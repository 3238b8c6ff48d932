"""The forecast against the outcome."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from recalltrap_analysis.figures.style import FAINT, Array, colour, new_figure, styled
from recalltrap_analysis.figures.tooltips import MOST_TOOLTIPS, add_point_tooltip, number


def forecast_scatter(
    predicted: Mapping[str, Array], reached: Mapping[str, Array], titles: Mapping[str, str]
) -> Figure:
    """Reward forecast from the references against the reward that alignment reached.

    Args:
        predicted: Per ordering, the predicted rewards of its cells, shape [C].
        reached: Per ordering, the rewards they reached, shape [C].
        titles: What each ordering's points are called.
    """
    everything = np.concatenate([*predicted.values(), *reached.values()])
    low, high = float(everything.min()), float(everything.max())
    margin = 0.05 * (high - low) + 0.1
    with styled():
        figure, [[axes]] = new_figure(5.2, 4.9)
        limits = (low - margin, high + margin)
        axes.plot(limits, limits, color=FAINT, lw=0.9, label="forecast exact")
        for name, values in predicted.items():
            tint = colour(name, list(predicted))
            marker = "o" if name == "K-A" else "^"
            crowd = len(values) > 1000
            axes.plot(
                values, reached[name], marker, ms=2.5 if crowd else 4, mfc="none", mec=tint,
                mew=0.7, alpha=0.6, label=titles.get(name, name), rasterized=crowd,
            )  # fmt: skip
            if len(everything) / 2 <= MOST_TOOLTIPS:
                for x, y in zip(values, reached[name], strict=True):
                    words = f"{name}: forecast {number(x)}, reached {number(y)}"
                    add_point_tooltip(axes, x, y, words)
        axes.set_xlim(*limits)
        axes.set_ylim(*limits)
        axes.set_aspect("equal")
        axes.set_xlabel("reward forecast from the reference")
        axes.set_ylabel("reward reached")
        axes.grid()
        figure.legend(loc="outside right upper", ncols=1)
    return figure
