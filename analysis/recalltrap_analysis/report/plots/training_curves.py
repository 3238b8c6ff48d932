"""The alignments' training curves over seeds, and the checkpoints that were chosen by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.errors import InputError
from recalltrap.kind import CURVES
from recalltrap.orderings import ALIGN
from recalltrap_analysis.figures.training_curves import CurveOverSeeds, training_curves
from recalltrap_analysis.number_format import decimal_text, point_text
from recalltrap_analysis.report.document.blocks import Plot
from recalltrap_analysis.report.plots.grid_points import cells_at, deepest
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.verdicts.summary import Summary

CHOSEN = "selected"
"""The curve whose one point is the step of the checkpoint that an alignment ended with."""
WEIGHT = "gradient_weight"


def training_curves_plot(run: ReadRun, summary: Summary) -> Plot:
    """Alignment curves that a checkpoint is chosen by, as in the paper's figures 13 and 14."""
    stem = "selection"
    points = deepest(summary.order_effect, 1)
    if not points:
        return Plot(stem, "No grid point is complete, so no alignment curve is drawn.")
    cells = cells_at(summary.cells, summary.axes, points[0])
    query = curve_query([c.id for c in cells if summary.statuses.get(c.id) == "succeeded"])
    try:
        curves = run.sql(query).to_pandas()
    except InputError as error:
        return Plot(stem, f"The alignment curves can't be read: {str(error).splitlines()[0]}")
    orderings = [name for name in summary.design.orderings if name in ("K-A", "A-K")]
    drawn = curves_over_seeds(curves, orderings)
    if not drawn:
        return Plot(stem, "The curves table holds no reward of an alignment over its updates.")
    where = f" at {point_text(points[0], summary.axes)}" if summary.axes else ""
    caption = (
        f"First alignment of each ordering{where}, as in the paper's figures 13 and 14: means "
        "over seeds, bands from the lowest to the highest seed. A fall of the reward's standard "
        "deviation marks the onset of collapse."
    )
    planned = {name: len(summary.design.seeds[points[0], name]) for name in orderings}
    fewer = [f"{CURVES[m].title} of {o} in {c.seeds} of {planned[o]} seeds"
             for (m, o), c in drawn.items() if c.seeds < planned[o]]  # fmt: skip
    if fewer:
        caption += f" Not every seed has a curve: {'; '.join(fewer)}."
    chosen = chosen_steps(curves, orderings)
    if chosen:
        caption += " Dashed verticals: the selected checkpoints, one per seed."
    if any(metric == WEIGHT for metric, _ in drawn):
        caption += (
            " σ(−z), the weight of DPO's gradient: what a pair still gives of its gradient, ½ "
            "where policy and reference agree and 0 where the pair is learned; what is left at the "
            "end is how much of the loss still pulls."
        )
    if note := summary.kind.curves_note(curves):
        caption += f" {note}"
    step = "rollout" if chosen else "update"
    last = ", ".join(
        f"{m} of {o} ends at {decimal_text(c.mean_T[-1])}" for (m, o), c in drawn.items()
    )
    figure = training_curves(
        drawn, {name: curve.title for name, curve in CURVES.items()}, step, chosen
    )
    return Plot(stem, caption, f"Curves: {last}.", figure, query)


def curves_over_seeds(
    curves: pd.DataFrame, orderings: Sequence[str]
) -> dict[tuple[str, str], CurveOverSeeds]:
    """Training curves by metric and ordering.

    Args:
        curves: Columns `ordering`, `seed`, `stage`, `step`, `metric`, `value`: the `curves` table
            of one grid point's cells. Only the first alignment of each ordering counts.
        orderings: Which to show.

    Returns:
        Steps that every seed with a curve has a finite value at, with the mean, the lowest and the
        highest of those seeds.
    """
    over_seeds: dict[tuple[str, str], CurveOverSeeds] = {}
    if curves.empty:
        return over_seeds
    known = np.isfinite(curves["value"].to_numpy(dtype=float))
    rows = curves[known & (curves["stage"] == ALIGN).to_numpy()]
    for metric in CURVES:
        for ordering in orderings:
            mine = rows[(rows["metric"] == metric) & (rows["ordering"] == ordering)]
            if mine.empty:
                continue
            table: pd.DataFrame = mine.pivot_table(index="step", columns="seed", values="value")
            table = table.dropna()
            values: Any = table.to_numpy(dtype=float)
            if len(table) > 1:
                over_seeds[metric, ordering] = CurveOverSeeds(
                    table.index.to_numpy(dtype=float),
                    values.mean(axis=1),
                    values.min(axis=1),
                    values.max(axis=1),
                    values.shape[1],
                )
    return over_seeds


def chosen_steps(curves: pd.DataFrame, orderings: Sequence[str]) -> dict[str, Array]:
    """The step of each seed's chosen checkpoint, by ordering; of the first alignment alone."""
    if curves.empty:
        return {}
    rows = curves[(curves["stage"] == ALIGN) & (curves["metric"] == CHOSEN)]
    steps = {name: rows[rows["ordering"] == name]["step"].to_numpy(float) for name in orderings}
    return {name: step_N for name, step_N in steps.items() if len(step_N)}


def curve_query(cell_ids: Sequence[str]) -> str:
    """The SQL that finds the alignment curves of some cells."""
    ids = ", ".join("'" + name.replace("'", "''") + "'" for name in cell_ids)
    return f"""select ordering, seed, stage, step, metric, curves.value
from curves join cells using (cell_id)
where stage = '{ALIGN}' and cell_id in ({ids})
order by all"""
