"""The models that each ordering passes through, in the plane of recall and target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from recalltrap.kind import metric_of
from recalltrap_analysis.figures.model_paths import ModelPath, model_paths
from recalltrap_analysis.number_format import decimal_text, point_lines
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import deepest
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.metric_labels import metric_labels
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.verdicts.summary import Summary

MODELS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "K-A": (("p'", "p_prime"), ("p''", "p_second"), ("p''_KA", "final")),
    "A-K": (("p'", "p_prime"), ("p'_AK", "p_prime_aligned"), ("p''_AK", "final")),
}
"""Per ordering the models it passes through: title, and name in the `metrics` table."""
TARGETS = ("target_precision", "reward")
MOST_SETTINGS = 3


def model_paths_plot(run: ReadRun, summary: Summary) -> Plot:
    """The orderings' paths through recall and target, where the order effect is largest."""
    stem = "trajectories"
    points = deepest(summary.order_effect, MOST_SETTINGS)
    targets = metric_labels(summary.metrics, TARGETS)
    panels = {
        (row, column): paths
        for row, metric in enumerate(targets)
        for column, point in enumerate(points)
        if (paths := paths_at(summary.outcomes, summary.design, point, metric))
    }
    if not panels:
        return Plot(stem, "No complete grid point reports the models on the orderings' paths.")
    titles = [point_lines(point, summary.axes) if summary.axes else "" for point in points]
    caption = (
        "Each ordering's path, as in the paper's figures 5 and 15: K-A distils p' into p'' and "
        "then aligns; A-K aligns p' and then distils. Means over seeds; a marker's area grows with "
        "the standard deviation over seeds of the metric on the vertical axis."
    )
    if len(points) < len(summary.design.points):
        caption += f" The {len(points)} grid points with the largest order effect."
    for metric, paths in zip(targets, (panels.get((r, 0), []) for r in (0, 1)), strict=True):
        if lacking := missing_models(paths):
            caption += f" Not known in every seed, so not drawn for {targets[metric]}"
            caption += (
                f"{' at the first of them' if len(points) > 1 else ''}: {', '.join(lacking)}."
            )
    ends = ", ".join(
        f"{path.titles[-1]} at recall {decimal_text(path.x_M[-1])} and {metric.replace('_', ' ')} "
        f"{decimal_text(path.y_M[-1])}"
        for metric, paths in zip(targets, (panels.get((r, 0), []) for r in (0, 1)), strict=True)
        for path in paths
    )
    words = f"Paths through overall recall and target; at the deepest setting they end at {ends}."
    recall = metric_of(summary.metrics, "overall_recall").label
    figure = model_paths(panels, list(targets.values()), titles, recall)
    return Plot(stem, caption, words, figure, sql.trajectory_query(summary.axes))


def paths_at(
    outcomes: pd.DataFrame, design: Design, point: GridPoint, metric: str
) -> list[ModelPath]:
    """Overall recall against a target metric, for K-A and A-K at one grid point.

    A model that has a value that is not finite in any seed is left out of its path. `sd_M` is that
    of the target metric, 0 with one seed.
    """
    keys = point_keys(outcomes, design.axes)
    here = outcomes[[key == point for key in keys]]
    paths = []
    for ordering, models in MODELS.items():
        rows = here[here["ordering"] == ordering]
        steps = []
        for title, model in models:
            x = column(rows, f"{model}.overall_recall").to_numpy()
            y = column(rows, f"{model}.{metric}").to_numpy()
            if len(x) and np.isfinite(x).all() and np.isfinite(y).all():
                steps.append((title, x.mean(), y.mean(), y.std(ddof=1) if len(y) > 1 else 0.0))
        if len(steps) > 1:
            titles, x_M, y_M, sd_M = zip(*steps, strict=True)
            arrays = (np.array(x_M), np.array(y_M), np.array(sd_M))
            paths.append(ModelPath(ordering, titles, *arrays, len(rows)))
    return paths


def missing_models(paths: Sequence[ModelPath]) -> list[str]:
    """The models that the paths at one grid point lack, e.g. ``p'_AK of A-K``; and whole paths."""
    lacking = []
    shown = {path.ordering: set(path.titles) for path in paths}
    for ordering, models in MODELS.items():
        if ordering not in shown:
            lacking.append(ordering)
            continue
        lacking += [f"{title} of {ordering}" for title, _ in models if title not in shown[ordering]]
    return lacking
