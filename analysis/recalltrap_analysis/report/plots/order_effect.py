"""Order effect over the grid."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.figures.order_effect import order_effect_line, order_effect_map
from recalltrap_analysis.number_format import range_text, setting_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import point_at, split_grid, thin
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.verdicts.summary import Summary, concluded_signs


def order_effect_plot(run: ReadRun, summary: Summary) -> Plot | None:
    """Order effect over the grid: a line with intervals for one axis, a heat map for more.

    None where there is but one grid point: the table says it.
    """
    stem, table, design = "order-effect", summary.order_effect, summary.design
    if not (table["state"] == COMPLETE).any():
        return Plot(stem, "No grid point is complete, so there is no order effect to draw.")
    if len(design.points) < 2:
        return None
    query = sql.order_effect_query(design.axes, summary.kind)
    if len(design.axes) > 1:
        return _map(summary, query)
    labels = [setting_text(point[0]) for point in design.points]
    value, low, high = (
        table[name].to_numpy(dtype=float)
        for name in ("order_effect", "order_effect_low", "order_effect_high")
    )
    figure = order_effect_line(value, low, high, labels, design.axes[0], concluded_signs(table))
    caption = (
        "Order effect: mean over seeds and its 95 % interval; filled where the table's reading "
        "is a trap or a reversal (p, adjusted by Holm). Above 0, A-K attains more of the "
        "reachable reward than K-A."
    )
    words = "Mean order effect with interval at every grid point: " + _range(table["order_effect"])
    return Plot(stem, caption, words, figure, query)


def _map(summary: Summary, query: str) -> Plot:
    """The trap map, with the border around what the headline counts as a trap."""
    design = summary.design
    table = summary.order_effect.assign(sign=concluded_signs(summary.order_effect))
    value, x_labels, y_labels, x_name, y_name = order_effect_grid(table, design)
    sign = np.nan_to_num(order_effect_grid(table, design, "sign")[0])
    figure = order_effect_map(value, x_labels, y_labels, x_name, y_name, sign)
    caption = (
        f"The map: order effect over the grid, mean over seeds; rows are {y_name}. Orange: A-K "
        "attains more than K-A. Purple: less. The line borders the trap: where the table's "
        "reading is a trap (p, adjusted by Holm; dashed: a reversal). Hatched: incomplete."
    )
    total = len(design.points) // max(1, len(x_labels))
    if len(y_labels) < total:
        caption += f" {len(y_labels)} of {total} rows are shown; the table has all."
    words = (
        f"Heat map of mean order effect by {x_name} and {y_name}: "
        f"{_range(summary.order_effect['order_effect'])} A trap at "
        f"{int((sign > 0).sum())} of {sign.size} grid points shown."
    )
    return Plot("order-effect", caption, words, figure, query)


def order_effect_grid(
    table: pd.DataFrame, design: Design, name: str = "order_effect", most_rows: int = 40
) -> tuple[Array, list[str], list[str], str, str]:
    """A column of the table as a matrix [other axes, sweep], its labels, the axes' names.

    The rows are sorted as the design has them; NaN where a grid point has no number.
    """
    sweep, values, others, facets = split_grid(design)
    at_point = dict(zip(table["point"], table[name], strict=True))
    shown = thin(facets, most_rows)
    matrix = [
        [at_point.get(point_at(design, value, facet), np.nan) for value in values]
        for facet in shown
    ]
    if len(others) == 1:
        y_labels = [setting_text(facet[0]) for facet in shown]
    else:
        y_labels = [" · ".join(setting_text(value) for value in facet) for facet in shown]
    return np.array(matrix), [setting_text(v) for v in values], y_labels, sweep, " · ".join(others)


def _range(values: pd.Series[float]) -> str:
    return f"from {range_text(values)}."
