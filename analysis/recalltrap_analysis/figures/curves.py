"""Curves: what a checkpoint is chosen by, how rewards are distributed, severity against deficit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from recalltrap_analysis.estimates.trajectories import Course
from recalltrap_analysis.figures.style import FAINT, INK, colour, new_figure, styled

Array = npt.NDArray[np.float64]


def selection_curves(
    found: Mapping[tuple[str, str], Course],
    titles: Mapping[str, str],
    step: str = "update",
    chosen: Mapping[str, Array] | None = None,
) -> Figure:
    """One panel per metric, one line per ordering, the range between seeds as a band.

    Args:
        found: Curves by metric and ordering; not empty.
        titles: What the metrics are called; also their order.
        step: What a step counts.
        chosen: Steps of the chosen checkpoints by ordering, one per seed; dashed vertical lines.
    """
    metrics = [name for name in titles if any(metric == name for metric, _ in found)]
    orderings = list(dict.fromkeys(ordering for _, ordering in found))
    columns = min(2, len(metrics))
    rows = -(-len(metrics) // columns)
    with styled():
        figure, grid = new_figure(0.4 + 3.6 * columns, 0.7 + 2.2 * rows, rows, columns)
        flat = [axes for row in grid for axes in row]
        for axes, metric in zip(flat, metrics, strict=False):
            for ordering in orderings:
                course = found.get((metric, ordering))
                if course is None:
                    continue
                tint = colour(ordering, orderings)
                axes.fill_between(course.step_T, course.low_T, course.high_T, color=tint,
                                  alpha=0.18, lw=0)  # fmt: skip
                dashes = "-" if ordering == "A-K" else (0, (5, 1.5))
                axes.plot(course.step_T, course.mean_T, color=tint, ls=dashes, label=ordering)
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


def reward_densities(
    shares: Mapping[str, Array], seeds: Mapping[str, Array], colours: Mapping[str, str]
) -> Figure:
    """How often a reference's samples get each reward, the whole range and the tail.

    Args:
        shares: Per model, the share of samples in each of B equal bins of R / R_max, shape [B].
        seeds: The same per seed, shape [N, B]; drawn as a band between the extremes.
        colours: A colour for each model.
    """
    bins = len(next(iter(shares.values())))
    edges = np.linspace(0, 1, bins + 1)
    tail = bins - bins // 5
    with styled():
        figure, [[whole, end]] = new_figure(7.6, 2.9, 1, 2, width_ratios=[1.7, 1])
        for (name, share_B), dashes in zip(shares.items(), ("-", (0, (5, 1.5))), strict=False):
            for axes, start in ((whole, 0), (end, tail)):
                part = edges[start:]
                axes.stairs(share_B[start:], part, color=colours[name], lw=1.6, ls=dashes,
                            label=name, baseline=None)  # fmt: skip
                low_B, high_B = (
                    np.append(ends_B[start:], ends_B[-1])
                    for ends_B in (seeds[name].min(axis=0), seeds[name].max(axis=0))
                )
                axes.fill_between(part, low_B, high_B, step="post", color=colours[name],
                                  alpha=0.18, lw=0)  # fmt: skip
        whole.set_yscale("log")
        whole.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        whole.yaxis.set_minor_formatter(NullFormatter())
        whole.set_title("all samples (logarithmic)")
        end.set_title("the best fifth of rewards")
        end.set_ylim(bottom=0)
        whole.set_ylabel("share of samples per bin")
        for axes in (whole, end):
            axes.set_xlabel("R / R_max")
            axes.grid(axis="y")
        handles, labels = whole.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def scaling_curve(
    points: tuple[Array, Array, Array, Array],
    groups: Sequence[str],
    curve: tuple[Array, Array, Array, Array] | None,
    x_name: str,
) -> Figure:
    """Severity against the recall deficit, one point per setting, with the fitted curve.

    Args:
        points: Place on the horizontal axis, severity, its lower and upper ends, each [G].
        groups: A group's name per point, e.g. its KL weight; tells the markers apart.
        curve: x, y, lower and upper end of the fitted curve, each of shape [T], or None.
        x_name: What the horizontal axis measures.
    """
    deficit_G, severity_G, low_G, high_G = points
    names = list(dict.fromkeys(groups))
    with styled():
        figure, [[axes]] = new_figure(6.2, 3.9)
        axes.axhline(0, color=FAINT, lw=0.9)
        if curve is not None:
            x_T, y_T, below_T, above_T = curve
            axes.fill_between(x_T, below_T, above_T, color="#bbbbbb", alpha=0.5, lw=0)
            axes.plot(x_T, y_T, color=INK, lw=1.6, label="fitted")
        for place, name in enumerate(names):
            mine = np.array([group == name for group in groups])
            shade = place / max(1, len(names) - 1)
            tint = mpl.colormaps["viridis"](0.92 * shade)
            ranged = mine & np.isfinite(low_G)
            axes.vlines(deficit_G[ranged], low_G[ranged], high_G[ranged], color=tint, lw=0.8,
                        alpha=0.5)  # fmt: skip
            axes.plot(deficit_G[mine], severity_G[mine], "os^Dv<>P"[place % 8], color=tint, ms=4,
                      label=name or None)  # fmt: skip
        axes.set_xlabel(x_name)
        axes.set_ylabel("trap severity")
        axes.grid()
        if axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside right upper")
    return figure
