"""The alignments' training curves, as in the paper's figures 13 and 14. Shapes: T steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from recalltrap_analysis.figures.style import Array, colour, new_figure, styled
from recalltrap_analysis.figures.tooltips import add_point_tooltip, number


@dataclass(frozen=True)
class CurveOverSeeds:
    """One curve over seeds: steps, means, and the range between seeds, each of shape [T]."""

    step_T: Array
    mean_T: Array
    low_T: Array
    high_T: Array
    seeds: int


MOST_STEPS = 20
"""Of a curve: the steps with a tooltip."""


def _some(steps: int) -> list[int]:
    chosen = np.linspace(0, steps - 1, min(steps, MOST_STEPS))
    return [int(index) for index in chosen.round()]


def training_curves(
    curves: Mapping[tuple[str, str], CurveOverSeeds],
    titles: Mapping[str, str],
    step: str = "update",
    chosen: Mapping[str, Array] | None = None,
) -> Figure:
    """One panel per metric, one line per ordering, the range between seeds as a band.

    Args:
        curves: Curves by metric and ordering; not empty.
        titles: What the metrics are called; also their order.
        step: What a step counts.
        chosen: Steps of the chosen checkpoints by ordering, one per seed; dashed vertical lines.
    """
    metrics = [name for name in titles if any(metric == name for metric, _ in curves)]
    orderings = list(dict.fromkeys(ordering for _, ordering in curves))
    columns = min(2, len(metrics))
    rows = -(-len(metrics) // columns)
    with styled():
        figure, grid = new_figure(0.4 + 3.6 * columns, 0.7 + 2.2 * rows, rows, columns)
        flat = [axes for row in grid for axes in row]
        for axes, metric in zip(flat, metrics, strict=False):
            for ordering in orderings:
                curve = curves.get((metric, ordering))
                if curve is None:
                    continue
                tint = colour(ordering, orderings)
                axes.fill_between(curve.step_T, curve.low_T, curve.high_T, color=tint,
                                  alpha=0.18, lw=0)  # fmt: skip
                dashes = "-" if ordering == "A-K" else (0, (5, 1.5))
                axes.plot(curve.step_T, curve.mean_T, color=tint, ls=dashes, label=ordering)
                for index in _some(len(curve.step_T)):
                    words = (
                        f"{ordering}, {step} {number(curve.step_T[index])}: "
                        f"{titles[metric]} {number(curve.mean_T[index])}, seeds from "
                        f"{number(curve.low_T[index])} to {number(curve.high_T[index])}"
                    )
                    add_point_tooltip(axes, curve.step_T[index], curve.mean_T[index], words)
                for place in np.unique((chosen or {}).get(ordering, [])):
                    axes.axvline(place, color=tint, ls=(0, (2, 2)), lw=0.9)
            axes.set_title(titles[metric])
            axes.set_xlabel(step)
            axes.grid()
        for axes in flat[len(metrics) :]:
            axes.set_axis_off()
        handles, labels = flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=max(1, len(labels)))
    return figure
