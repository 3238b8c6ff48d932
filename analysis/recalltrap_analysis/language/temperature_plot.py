"""The paper's figure 15: how a distillation's temperature tunes recall against precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from recalltrap.kind import metric_of
from recalltrap_analysis.figures.temperature import TemperatureSweep, temperature_sweep
from recalltrap_analysis.language.queries import temperature_query
from recalltrap_analysis.number_format import decimal_text, point_lines, setting_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import thin
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.metric_labels import metric_labels
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.verdicts.summary import Summary

TEMPERATURES = ("last_distill_temperature", "distill_temperature")
"""Of the distillations after an alignment, and of all: the first that a study sweeps is drawn."""
MOST_COLUMNS = 4
SEEN_BY = ("overall_precision", "target_precision", "reward")


def swept(axes: Sequence[str]) -> str | None:
    """The axis that is the temperature; None without one."""
    return next((name for name in TEMPERATURES if name in axes), None)


def sweeps(
    outcomes: pd.DataFrame, design: Design, others: GridPoint, metric: str
) -> list[TemperatureSweep]:
    """Every ordering's final models along the temperature, the other axes fixed at `others`.

    A temperature at which a planned seed is missing or not finite is left out, one that isn't named
    (null) too, and an ordering that the temperature doesn't touch.
    """
    name = swept(design.axes)
    assert name is not None
    place = design.axes.index(name)
    keyed = outcomes.assign(point=pd.Series(point_keys(outcomes, design.axes), dtype=object))
    found = []
    for ordering in design.orderings:
        steps = []
        for point in design.points:
            if point[place] is None or point[:place] + point[place + 1 :] != others:
                continue
            arm = keyed[keyed["ordering"] == ordering]
            here = arm[[found == point for found in arm["point"]]]
            x_N = column(here, "final.overall_recall").to_numpy()
            y_N = column(here, f"final.{metric}").to_numpy()
            whole = len(here) == len(design.seeds.get((point, ordering), ())) > 0
            if whole and np.isfinite(x_N).all() and np.isfinite(y_N).all():
                sd = float(y_N.std(ddof=1)) if len(y_N) > 1 else 0.0
                steps.append((float(point[place]), x_N.mean(), y_N.mean(), sd))
        if steps and (len(steps) == 1 or len({step[1:] for step in steps}) > 1):
            columns = (np.array(values) for values in zip(*sorted(steps), strict=True))
            found.append(TemperatureSweep(ordering, *columns))
    return found


def temperature_plot(run: ReadRun, summary: Summary) -> Plot | None:
    """Final models along the temperature; None where the study doesn't sweep it."""
    design, stem = summary.design, "temperature"
    name = swept(design.axes)
    if name is None:
        return None
    place = design.axes.index(name)
    every = list(dict.fromkeys(point[:place] + point[place + 1 :] for point in design.points))
    shown = thin(every, MOST_COLUMNS)
    labels = metric_labels(summary.metrics, SEEN_BY)
    panels = {
        (row, index): found
        for row, metric in enumerate(labels)
        for index, others in enumerate(shown)
        if (found := sweeps(summary.outcomes, design, others, metric))
    }
    if not panels:
        return Plot(stem, "No temperature has all its seeds, so their effect can't be drawn.")
    axes = tuple(axis for axis in design.axes if axis != name)
    titles = [point_lines(others, axes) if axes else "" for others in shown]
    which = "the last distillation's" if name == TEMPERATURES[0] else "all distillations'"
    caption = (
        f"Final models along {which} temperature τ ({name}), after the paper's figure 15: each "
        "point is a temperature's mean over seeds, its bar one standard deviation over seeds. A "
        "lower temperature sharpens: more precision, less recall. Orderings that it doesn't touch "
        "aren't drawn."
    )
    if len(shown) < len(every):
        caption += f" {len(shown)} of {len(every)} combinations of the other axes are shown."
    ends = "; ".join(
        f"{sweep.ordering} from τ {setting_text(float(sweep.temperature_T[0]))} to "
        f"{setting_text(float(sweep.temperature_T[-1]))}: "
        f"recall {decimal_text(sweep.x_T[0])} to {decimal_text(sweep.x_T[-1])}, overall precision "
        f"{decimal_text(sweep.y_T[0])} to {decimal_text(sweep.y_T[-1])}"
        for sweep in panels.get((list(labels).index("overall_precision"), 0), [])
    )
    recall = metric_of(summary.metrics, "overall_recall").label
    figure = temperature_sweep(panels, list(labels.values()), titles, recall)
    query = temperature_query(summary.axes)
    words = f"Recall against precision along τ. {ends}."
    return Plot(stem, caption, words, figure, query)
