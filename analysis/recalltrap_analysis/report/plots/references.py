"""p' and p'' before any alignment."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap.kind import metric_of
from recalltrap_analysis.estimates.order_effect import by_point
from recalltrap_analysis.estimates.references import reference_rows
from recalltrap_analysis.figures.references import reference_check
from recalltrap_analysis.number_format import point_lines, significant_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import thin
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.verdicts.summary import Summary

MOST_GROUPS = 6


def references_plot(run: ReadRun, summary: Summary) -> Plot:
    """Recall and hit rate of the two references, as in the paper's figure 2."""
    stem = "references"
    labels, recall, hits, note = reference_groups(summary.outcomes, summary.design)
    if not labels:
        return Plot(stem, "No cell reports both recall and hit rate of p' and p''.")
    caption = (
        "The references p' and p'', as in the paper's figure 2: one line per seed. Low "
        "recall of p'' sets the learning trap, a low hit rate the sampling trap."
    )
    if note:
        caption += f" {note[0].upper()}{note[1:]}."
    first, second = (np.mean(np.concatenate([pair[i] for pair in hits])) for i in (0, 1))
    words = (
        "Overall recall and hit rate of p' and p''; mean hit rates "
        f"{significant_text(first)} and {significant_text(second)}."
    )
    query = sql.reference_query(summary.axes)
    titles = (
        metric_of(summary.metrics, "overall_recall").label,
        f"{metric_of(summary.metrics, 'hit_rate').label}  P(R ≥ 0.9 R_max)",
    )
    return Plot(stem, caption, words, reference_check(labels, recall, hits, titles), query)


def reference_groups(
    outcomes: pd.DataFrame, design: Design
) -> tuple[list[str], list[tuple[Array, Array]], list[tuple[Array, Array]], str]:
    """Recall and hit rate of p' and p'', once for every distinct set of references.

    Returns:
        Labels, per group recall and hit rate of (p', p''), and a note on what was left out.
    """
    names = ["recall_p_prime", "recall_p_second", "hit_rate_p_prime", "hit_rate_p_second"]
    groups: dict[bytes, list[GridPoint]] = {}
    numbers: dict[bytes, Array] = {}
    at_point = by_point(reference_rows(outcomes, design.axes))
    for point in (point for point in design.points if point in at_point):
        rows = at_point[point]
        values = np.stack([rows[name].to_numpy(dtype=float) for name in names], axis=1)
        values = values[np.isfinite(values).all(axis=1)]
        if len(values):
            groups.setdefault(values.tobytes(), []).append(point)
            numbers[values.tobytes()] = values
    shown = thin(list(groups), MOST_GROUPS)
    deciding = [
        place
        for place in range(len(design.axes))
        if all(len({point[place] for point in points}) == 1 for points in groups.values())
    ]
    axes = [design.axes[place] for place in deciding]
    labels = [point_lines([groups[key][0][place] for place in deciding], axes) for key in shown]
    recall = [(numbers[key][:, 0], numbers[key][:, 1]) for key in shown]
    hits = [(numbers[key][:, 2], numbers[key][:, 3]) for key in shown]
    note = f"{len(shown)} of {len(groups)} sets of references are shown"
    return labels, recall, hits, note if len(shown) < len(groups) else ""
