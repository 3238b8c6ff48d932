"""p' and p'' before any alignment."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap.kind import metric_of
from recalltrap_analysis.estimates.missing.metrics import OF_A_TARGET
from recalltrap_analysis.estimates.order_effect import by_point
from recalltrap_analysis.estimates.references import REFERENCES, reference_rows
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
HIT_RATE, REWARD = "hit_rate", "reward"


def references_plot(run: ReadRun, summary: Summary) -> Plot:
    """Recall and hit rate of the two references, as in the paper's figure 2.

    Where the reward has no target to hit, its mean takes the hit rate's place.
    """
    stem = "references"
    found = reference_rows(summary.outcomes, summary.design.axes)
    has_target = any(str(column).endswith(OF_A_TARGET) for column in summary.outcomes)
    beside = HIT_RATE if has_target else REWARD
    name = beside.replace("_", " ")
    labels, recall, second, note = reference_groups(found, summary.design, beside)
    if not labels:
        return Plot(stem, f"No cell reports both recall and {name} of p' and p''.")
    title = metric_of(summary.metrics, beside).label
    traps = "Low recall of p'' sets the learning trap, a low hit rate the sampling trap."
    if has_target:
        title += "  P(R ≥ 0.9 R_max)"
    else:
        traps = (
            "Low recall of p'' sets the learning trap. This reward has no target whose hits could "
            "be counted, so its mean before alignment stands beside recall; how often each gives a "
            "good response, `recalltrap check` says."
        )
    caption = f"The references p' and p'', as in the paper's figure 2: one line per seed. {traps}"
    if note:
        caption += f" {note[0].upper()}{note[1:]}."
    means = [np.mean(np.concatenate([pair[i] for pair in second])) for i in (0, 1)]
    words = (
        f"Overall recall and {name} of p' and p''; mean {name}s "
        f"{significant_text(means[0])} and {significant_text(means[1])}."
    )
    query = sql.reference_query(summary.axes, beside)
    titles = (metric_of(summary.metrics, "overall_recall").label, title)
    return Plot(stem, caption, words, reference_check(labels, recall, second, titles), query)


def reference_groups(
    found: pd.DataFrame, design: Design, beside: str = HIT_RATE
) -> tuple[list[str], list[tuple[Array, Array]], list[tuple[Array, Array]], str]:
    """Recall and another metric of p' and p'', once for every distinct set of references.

    Args:
        found: As `reference_rows` returns it.
        design: What was planned.
        beside: The other metric, `hit_rate` or `reward`.

    Returns:
        Labels, per group recall and the other metric of (p', p''), and a note on what was left out.
    """
    names = [f"{metric}_{name}" for metric in ("recall", beside) for name in REFERENCES]
    groups: dict[bytes, list[GridPoint]] = {}
    numbers: dict[bytes, Array] = {}
    at_point = by_point(found)
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
    second = [(numbers[key][:, 2], numbers[key][:, 3]) for key in shown]
    note = f"{len(shown)} of {len(groups)} sets of references are shown"
    return labels, recall, second, note if len(shown) < len(groups) else ""
