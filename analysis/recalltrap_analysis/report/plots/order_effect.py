"""The order effect and severity over the grid."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.attainment import ATTAINMENT, unit_phrase, with_unit
from recalltrap_analysis.estimates.order_effect import COMPLETE, severity_title
from recalltrap_analysis.figures.order_effect import Effect, effect_lines, effect_maps
from recalltrap_analysis.number_format import range_text, setting_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import point_at, split_grid, thin
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.verdicts.grid_points import concluded_signs
from recalltrap_analysis.verdicts.summary import Summary

STEM = "order-effect"


def order_effect_plot(run: ReadRun, summary: Summary) -> Plot | None:
    """The two effects over the grid: lines with intervals for one axis, heat maps for more.

    None where there is but one grid point: the table says it.
    """
    table, design = summary.order_effect, summary.design
    if not (table["state"] == COMPLETE).any():
        return Plot(STEM, "No grid point is complete, so there is no order effect to draw.")
    if len(design.points) < 2:
        return None
    titles = {"order_effect": "order effect"}
    if table["severity"].notna().any():
        titles["severity"] = severity_title(table["severity_from"].iloc[0])
    query = sql.order_effect_query(design.axes, summary.reward_unit)
    if len(design.axes) > 1:
        return _maps(summary, titles, query)
    labels = [setting_text(point[0]) for point in design.points]
    effects = []
    for name, title in titles.items():
        value, low, high = _columns(table, name)
        named = with_unit(title, summary.unit)
        effects.append(Effect(named, value, low, high, concluded_signs(table, name)))
    caption = (
        f"{_both(titles)}: mean over seeds and its 95 % interval; filled where the table's reading "
        f"is larger than the margin, or smaller than minus the margin. {meaning(summary.unit)}"
    )
    words = f"{_both(titles)} at every grid point: {_ranges(table, titles)}."
    figure = effect_lines(effects, labels, design.axes[0])
    return Plot(STEM, caption, words, figure, query)


def meaning(unit: str) -> str:
    """What the signs of the effects say."""
    if unit == ATTAINMENT:
        return (
            "Order effect above 0: A-K attains more of the reachable reward than K-A. Severity "
            "above 0: the same student would attain more if it were held near p'."
        )
    return (
        f"Differences of reward {unit_phrase(unit)}. Order effect above 0: A-K reaches more reward "
        "than K-A. Severity above 0: the same student would reach more if it were held near p'."
    )


def _columns(table: pd.DataFrame, name: str) -> list[Array]:
    """An effect with its lower and its upper end, one value per row."""
    return [np.asarray(table[f"{name}{end}"], dtype=float) for end in ("", "_low", "_high")]


def _both(titles: dict[str, str]) -> str:
    first, *rest = titles.values()
    return " and ".join([first.capitalize(), *rest])


def _maps(summary: Summary, titles: dict[str, str], query: str) -> Plot:
    """The maps, with the border around what the table's reading counts as larger."""
    table, design = summary.order_effect, summary.design
    layout = GridLayout(design)
    effects = []
    for name, title in titles.items():
        value, low, high = (layout.matrix(table, column) for column in _columns(table, name))
        sign = np.nan_to_num(layout.matrix(table, concluded_signs(table, name)))
        effects.append(Effect(title, value, low, high, sign))
    names = (layout.x_labels, layout.y_labels, layout.x_name, layout.y_name)
    unit = ATTAINMENT if summary.unit == ATTAINMENT else "sd under p'"
    figure = effect_maps(effects, *names, unit)
    caption = (
        f"The map: {_both(titles).lower()} over the grid, mean over seeds; rows are "
        f"{layout.y_name}. Orange: above 0. Purple: below. A line borders where the table's "
        "reading is larger than the margin (Holm over the grid points; dashed: smaller than minus "
        f"the margin). Hatched: incomplete. {meaning(summary.unit)}"
    )
    if layout.shown < layout.total:
        caption += f" {layout.shown} of {layout.total} rows are shown; the table has all."
    counts = ", ".join(
        f"{effect.title} larger than the margin at {int((effect.sign > 0).sum())} of "
        f"{effect.sign.size} grid points shown"
        for effect in effects
    )
    words = f"Heat maps by {layout.x_name} and {layout.y_name}: {_ranges(table, titles)}; {counts}."
    return Plot(STEM, caption, words, figure, query)


class GridLayout:
    """The grid as a matrix [other axes, sweep], its labels and the axes' names.

    The rows are sorted as the design has them; a large grid's are thinned evenly.
    """

    def __init__(self, design: Design, most_rows: int = 40) -> None:
        sweep, values, others, facets = split_grid(design)
        rows = thin(facets, most_rows)
        self.x_name, self.y_name = sweep, " · ".join(others)
        self.x_labels = [setting_text(value) for value in values]
        self.y_labels = [" · ".join(setting_text(value) for value in facet) for facet in rows]
        self.shown, self.total = len(rows), len(facets)
        self._points: list[list[GridPoint]] = [
            [point_at(design, value, facet) for value in values] for facet in rows
        ]

    def matrix(self, table: pd.DataFrame, values: Array) -> Array:
        """One value per row of a table with `point`; NaN where a grid point has none."""
        at_point = dict(zip(table["point"], values, strict=True))
        return np.array([[at_point.get(p, np.nan) for p in row] for row in self._points])


def _ranges(table: pd.DataFrame, titles: dict[str, str]) -> str:
    return ", ".join(f"{title} from {range_text(table[n])}" for n, title in titles.items())
