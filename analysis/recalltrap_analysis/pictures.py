"""The report's figures with their captions and alternative texts, or the reason for having none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from recalltrap.errors import InputError
from recalltrap_analysis import figures
from recalltrap_analysis.decomposition import PARTS
from recalltrap_analysis.decomposition import TITLES as PART_TITLES
from recalltrap_analysis.forecast import TITLES as FORECAST_TITLES
from recalltrap_analysis.outcomes import label, show
from recalltrap_analysis.panels import (
    box_panels,
    mixture,
    reference_groups,
    seed_mixtures,
    severity_grid,
    typical_pair,
)
from recalltrap_analysis.run import StoredRun
from recalltrap_analysis.severity import COMPLETE
from recalltrap_analysis.statistics import Array
from recalltrap_analysis.summary import Summary

MOST_BARS = 24


@dataclass(frozen=True)
class Picture:
    """A rendered figure; `svg` and `pdf` are empty where `caption` gives the reason."""

    stem: str
    caption: str
    alternative: str = ""
    svg: bytes = b""
    pdf: bytes = b""

    def inline(self) -> str:
        """The figure as an SVG element, escaped."""
        return figures.inline_svg(self.svg, self.stem, self.alternative)


def draw(stem: str, figure: Figure, caption: str, alternative: str) -> Picture:
    """Render a figure."""
    return Picture(stem, caption, alternative, *figures.render_both(figure, stem))


def all_pictures(results: StoredRun, summary: Summary, forecast: pd.DataFrame) -> list[Picture]:
    """Every figure of the report. `forecast` holds rows of `forecast_pairs`."""
    return [
        severity_picture(summary),
        decomposition_picture(summary),
        box_picture(summary),
        contour_picture(results, summary),
        reference_picture(summary),
        forecast_picture(forecast),
    ]


def severity_picture(summary: Summary) -> Picture:
    """Severity over the grid: a line with intervals for one axis, a heat map for more."""
    stem, table, plan = "severity", summary.severity, summary.plan
    if not (table["state"] == COMPLETE).any():
        return Picture(stem, "No grid point is complete, so there is no severity to draw.")
    if len(plan.axes) <= 1:
        labels = [show(point[0]) if point else "all" for point in plan.points]
        value, low, high = (
            table[name].to_numpy(dtype=float)
            for name in ("severity", "severity_low", "severity_high")
        )
        axis = plan.axes[0] if plan.axes else ""
        figure = figures.severity_line(value, low, high, labels, axis)
        caption = (
            "Trap severity: mean over seeds and its 95 % interval. Above 0, A-K attains more of "
            "the reachable reward than K-A."
        )
        words = "Mean trap severity with interval at every grid point: "
    else:
        matrix, x_labels, y_labels, x_name, y_name = severity_grid(table, plan)
        figure = figures.severity_map(matrix, x_labels, y_labels, x_name, y_name)
        caption = (
            f"Trap severity over the grid, mean over seeds; rows are {y_name}. Orange: A-K attains "
            "more than K-A. Purple: less. Hatched: incomplete."
        )
        words = f"Heat map of mean trap severity by {x_name} and {y_name}: "
        total = len(plan.points) // max(1, len(x_labels))
        if len(y_labels) < total:
            caption += f" {len(y_labels)} of {total} rows are shown; the table has all."
    return draw(stem, figure, caption, words + _range(table["severity"]))


def _range(values: pd.Series[float]) -> str:
    return f"from {values.min():.2f} to {values.max():.2f}."


def decomposition_picture(summary: Summary) -> Picture:
    """Stacked parts of severity at every grid point, or at those of the largest severities."""
    stem, axes = "decomposition", summary.axes
    known = summary.decomposition[summary.decomposition["state"] == COMPLETE]
    if known.empty:
        reasons = "; ".join(dict.fromkeys(summary.decomposition["state"].tolist()))
        return Picture(stem, f"No grid point can be decomposed ({reasons or 'no cells'}).")
    total = len(known)
    if total > MOST_BARS:
        deepest = np.argsort(-np.abs(known["severity"].to_numpy()), kind="stable")[:MOST_BARS]
        known = known.iloc[np.sort(deepest)]
    labels = [label(point, axes) for point in known["point"]]
    parts = {name: known[name].to_numpy(dtype=float) for name in PARTS}
    severity = known["severity"].to_numpy(dtype=float)
    figure = figures.decomposition_bars(parts, severity, labels, PART_TITLES)
    caption = "Mean parts of severity. They add up to it exactly, seed by seed."
    if total > MOST_BARS:
        caption += f" The {MOST_BARS} of {total} grid points with the largest severity are shown."
    means = ", ".join(f"{PART_TITLES[n]} {v.min():.2f} to {v.max():.2f}" for n, v in parts.items())
    return draw(stem, figure, caption, f"Stacked bars of the parts of severity: {means}.")


def box_picture(summary: Summary) -> Picture:
    """The paper's boxplots of the final models."""
    stem = "boxplots"
    if summary.outcomes.empty:
        return Picture(stem, "No cell has finished, so there are no outcomes to draw.")
    panels, note = box_panels(summary.outcomes, summary.plan)
    caption = (
        "Final models over seeds, as in the paper's figures 3, 4 and 6 to 12: quartiles with the "
        "median, whiskers to 1.5 interquartile ranges, points beyond."
    )
    if note:
        caption += f" {note[0].upper()}{note[1:]}."
    words = f"Boxplots of {', '.join(panels.rows)} for {', '.join(panels.orderings)}"
    along = f" along {panels.sweep}" if panels.sweep else ""
    return draw(stem, figures.boxplots(panels), caption, f"{words}{along}.")


def contour_picture(results: StoredRun, summary: Summary) -> Picture:
    """The models of one typical seed, where severity is deepest."""
    stem = "contours"
    typical = typical_pair(summary.pairs, summary.severity)
    if typical is None:
        return Picture(stem, "No grid point is complete, so no seed's models are drawn.")
    point, seed = typical
    try:
        mixtures = seed_mixtures(summary.cells, summary.axes, point, seed, results.store)
        truth = results.ground_truth()
        if truth is not None:
            mixtures = [mixture("p* (ground truth)", truth), *mixtures]
    except InputError as error:
        return Picture(stem, f"The models can't be drawn: {error}.")
    where = f" at {label(point, summary.axes)}" if summary.axes else ""
    caption = (
        f"Densities of the models of seed {seed}{where}, where severity is deepest; the seed is "
        "the one nearest to the median severity there. Levels are logarithmic and common to all "
        "panels; circles are component means, larger with more weight."
    )
    titles = ", ".join(model.title for model in mixtures)
    return draw(stem, figures.contour_panels(mixtures), caption, f"Density contours of {titles}.")


def reference_picture(summary: Summary) -> Picture:
    """Recall and hit rate of the two references, as in the paper's figure 2."""
    stem = "references"
    labels, recall, hits, note = reference_groups(summary.outcomes, summary.plan)
    if not labels:
        return Picture(stem, "No cell reports both recall and hit rate of p' and p''.")
    caption = (
        "The references before any alignment, as in the paper's figure 2: one line per seed. Low "
        "recall of p'' sets the learning trap, a low hit rate the sampling trap."
    )
    if note:
        caption += f" {note[0].upper()}{note[1:]}."
    first, second = (np.mean(np.concatenate([pair[i] for pair in hits])) for i in (0, 1))
    words = (
        f"Overall recall and hit rate of p' and p''; mean hit rates {first:.3g} and {second:.3g}."
    )
    return draw(stem, figures.reference_check(labels, recall, hits), caption, words)


def forecast_picture(pairs: pd.DataFrame) -> Picture:
    """Forecast against outcome, one point per cell."""
    stem = "forecast"
    if pairs.empty:
        return Picture(stem, "No cell has both a forecast and an outcome.")

    def select(name: str, wanted: str) -> Array:
        return pairs.loc[pairs["ordering"] == name, wanted].to_numpy(dtype=float)

    names = [name for name in FORECAST_TITLES if (pairs["ordering"] == name).any()]
    figure = figures.forecast_scatter(
        {name: select(name, "predicted") for name in names},
        {name: select(name, "reached") for name in names},
        FORECAST_TITLES,
    )
    gap = (pairs["predicted"] - pairs["reached"]).abs().mean()
    caption = (
        "One point per cell: the reward of the exact KL-regularised optimum, known from the "
        "reference alone, against the reward that alignment reached."
    )
    words = f"Reward reached against reward forecast; mean absolute error {gap:.2f}."
    return draw(stem, figure, caption, words)
