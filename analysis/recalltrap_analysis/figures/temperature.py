"""Final models along the distillation's temperature, as in the paper's figure 15."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from recalltrap_analysis.figures.style import INK, MARKERS, Array, colour, new_figure, styled
from recalltrap_analysis.figures.tooltips import add_point_tooltip, number


@dataclass(frozen=True)
class TemperatureSweep:
    """One ordering's final models along the temperature: means and sds over seeds, [T] each."""

    ordering: str
    temperature_T: Array
    x_T: Array  # overall recall
    y_T: Array
    sd_T: Array


def temperature_sweep(
    panels: Mapping[tuple[int, int], Sequence[TemperatureSweep]],
    rows: Sequence[str],
    columns: Sequence[str],
    recall: str,
) -> Figure:
    """Overall recall against what stands on each row, one line per ordering, τ beside its points.

    Args:
        panels: The sweeps of each panel, by row (a metric) and column (a setting).
        rows: What the metrics are called.
        columns: What the settings are called.
        recall: What overall recall is called.
    """
    names = list(dict.fromkeys(sweep.ordering for sweeps in panels.values() for sweep in sweeps))
    with styled():
        size = 1.0 + 2.9 * len(columns), 1.0 + 2.2 * len(rows)
        figure, grid = new_figure(*size, len(rows), len(columns), sharey="row")
        for (row, column), sweeps in panels.items():
            axes = grid[row][column]
            for sweep in sweeps:
                tint = colour(sweep.ordering, names)
                axes.errorbar(sweep.x_T, sweep.y_T, sweep.sd_T, color=tint, lw=1.2, elinewidth=0.8,
                              marker=MARKERS.get(sweep.ordering, "D"), ms=4.5,
                              label=sweep.ordering)  # fmt: skip
                for tau, x, y, sd in zip(
                    sweep.temperature_T, sweep.x_T, sweep.y_T, sweep.sd_T, strict=True
                ):
                    words = f"{sweep.ordering}, τ {number(tau)}: {recall} {number(x)}, "
                    words += f"{rows[row]} {number(y)}, sd {number(sd)}"
                    add_point_tooltip(axes, x, y, words)
                down = sweep.ordering == "K-A"
                for tau, x, y in zip(sweep.temperature_T, sweep.x_T, sweep.y_T, strict=True):
                    axes.annotate(f"{tau:g}", (x, y), (5, -11 if down else 5), fontsize=7.5,
                                  textcoords="offset points", color=INK)  # fmt: skip
            axes.grid()
            axes.margins(0.14)
            axes.locator_params(axis="x", nbins=4)  # ticks of small differences are long
        for row, title in enumerate(rows):
            grid[row][0].set_ylabel(title)
        for column, title in enumerate(columns):
            grid[0][column].set_title(title)
            grid[-1][column].set_xlabel(f"{recall} (τ beside each point)")
        handles: dict[str, Artist] = {}
        for line in (axes for cells in grid for axes in cells):
            found_handles, labels = line.get_legend_handles_labels()
            handles |= dict(zip(labels, found_handles, strict=True))
        figure.legend(list(handles.values()), list(handles), loc="outside upper center",
                      ncols=max(1, len(handles)))  # fmt: skip
    return figure
