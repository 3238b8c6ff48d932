"""The final models' metrics over seeds, as the paper's boxplots."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from recalltrap_analysis.figures.boxplots import BoxPanels, boxplots
from recalltrap_analysis.number_format import point_lines, setting_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import point_at, split_grid, thin
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.metric_labels import metric_labels
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.verdicts.summary import Summary

METRICS = ("reward", "target_precision", "overall_recall", "overall_precision")
MOST_FACETS, MOST_POSITIONS = 4, 12
MOST_BOXES = 100  # side by side


def boxplots_plot(run: ReadRun, summary: Summary) -> Plot:
    """The paper's boxplots of the final models."""
    stem = "boxplots"
    if summary.outcomes.empty:
        return Plot(stem, "No cell has finished, so there are no outcomes to draw.")
    labels = metric_labels(summary.metrics, METRICS)
    panels, note = box_panels(summary.outcomes, summary.design, labels)
    caption = (
        "Final models over seeds, as in the paper's figures 3, 4 and 6 to 12: quartiles with the "
        "median, whiskers to 1.5 interquartile ranges, points beyond."
    )
    if note:
        caption += f" {note[0].upper()}{note[1:]}."
    words = f"Boxplots of {', '.join(panels.rows)} for {', '.join(panels.orderings)}"
    along = f" along {panels.sweep}" if panels.sweep else ""
    query = sql.boxplot_query(summary.axes)
    return Plot(stem, caption, f"{words}{along}.", boxplots(panels), query)


def box_panels(
    outcomes: pd.DataFrame, design: Design, labels: Mapping[str, str]
) -> tuple[BoxPanels, str]:
    """One row of panels per metric of the final models, and a note on what was left out.

    `labels` is what the metrics are called, by name.
    """
    sweep, values, others, facets = split_grid(design)
    shown_values = thin(values, MOST_POSITIONS)
    fitting = MOST_BOXES // (len(shown_values) * max(1, len(design.orderings)))
    shown = thin(facets, max(1, min(MOST_FACETS, fitting)))
    rows: dict[tuple[GridPoint, str], list[int]] = {}
    keys = zip(point_keys(outcomes, design.axes), outcomes["ordering"], strict=True)
    for position, key in enumerate(keys):
        rows.setdefault(key, []).append(position)
    boxes: dict[tuple[int, int, int, str], Array] = {}
    dropped = 0
    for row, metric in enumerate(labels):
        every = column(outcomes, f"final.{metric}").to_numpy()
        for (facet_index, facet), (position, value) in (
            (f, v) for f in enumerate(shown) for v in enumerate(shown_values)
        ):
            for ordering in design.orderings:
                arm = every[rows.get((point_at(design, value, facet), ordering), [])]
                boxes[row, facet_index, position, ordering] = arm[np.isfinite(arm)]
                dropped += int((~np.isfinite(arm)).sum())
    notes = []
    if len(shown) < len(facets):
        notes.append(f"{len(shown)} of {len(facets)} combinations of the other axes are shown")
    if len(shown_values) < len(values):
        notes.append(f"{len(shown_values)} of {len(values)} values of {sweep} are shown")
    if dropped:
        notes.append(f"{dropped} values that are missing or not finite are not drawn")
    panels = BoxPanels(
        rows=list(labels.values()),
        columns=[point_lines(facet, others) if others else "" for facet in shown],
        positions=[setting_text(value) if sweep else "" for value in shown_values],
        orderings=design.orderings,
        sweep=sweep,
        values=boxes,
    )
    return panels, "; ".join(notes)
