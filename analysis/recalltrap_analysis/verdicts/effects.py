"""All effects of a run with their verdict on the margin: what `results.effects()` returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.errors import InputError, nearest
from recalltrap.graph import Cell
from recalltrap_analysis.estimates.contrasts import (
    EQUAL_KL_WEIGHT,
    Contrast,
    contrast_name,
    default_contrasts,
    fair_comparisons,
)
from recalltrap_analysis.estimates.experiment import PARTS, TITLES, experiment_table
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, COMPLETE, KD_THEN_ALIGN
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import KindRecord, record_of
from recalltrap_analysis.runs.protocol import Run
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.paired import STUDENT, Estimate
from recalltrap_analysis.statistics.student import one_sided_bounds
from recalltrap_analysis.verdicts.margin import MARGIN, margin_words


def effects(
    results: Run,
    *,
    contrasts: Sequence[Contrast] | None = None,
    margin: float | None = None,
    recall_budget: float | None = None,
) -> pd.DataFrame:
    """Every contrast of a run by every comparison, and the order effect's parts.

    Args:
        results: The run.
        contrasts: Pairs of orderings, compared as first minus second; the study's own unless given,
            every ordering that aligns against K-A where it has none.
        margin: The largest difference of attainment that doesn't matter; the study's own, or
            `MARGIN`, unless given.
        recall_budget: Nats of overall recall below p' that a model may lose, seed by seed; the
            study's own, or the kind's, unless given.

    Returns:
        As `effects_table`.

    Raises:
        InputError: the study has no such ordering, or the margin or the budget is no number from 0
            on.
    """
    kind = record_of(results.study.kind)
    cells, axes = results.planned(), tuple(results.axes)
    outcomes = cell_outcomes(results.table("metrics"), axes, kind.reward_supremum)
    study = results.study
    return effects_table(
        outcomes,
        Design.of(cells, axes),
        cells,
        kind,
        study.contrasts if contrasts is None else contrasts,
        next(found for found in (margin, study.margin, MARGIN) if found is not None),
        study.recall_budget if recall_budget is None else recall_budget,
    )


def effects_table(
    outcomes: pd.DataFrame,
    design: Design,
    cells: Sequence[Cell],
    kind: KindRecord,
    contrasts: Sequence[Contrast] | None = None,
    margin: float = MARGIN,
    recall_budget: float | None = None,
) -> pd.DataFrame:
    """One row per contrast, part, comparison, metric and grid point; arguments as for `effects`.

    Returns:
        The columns of `fair_comparisons`, and `lower`, `upper` (one-sided 5 % bounds) and `words`:
        `margin_words` of a difference of attainment, each row by itself; empty for other metrics
        and where there are no numbers. `part` is `difference`, or a part of the order effect.
    """
    chosen = default_contrasts(cells) if contrasts is None else _checked(contrasts, design)
    budget = kind.recall_budget if recall_budget is None else recall_budget
    for name, value in (("margin", margin), ("recall_budget", budget)):
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be a number from 0 on, not {value!r}")
    table = fair_comparisons(outcomes, design, kind.kl_weight, chosen, budget)
    if (ALIGN_THEN_KD, KD_THEN_ALIGN) in chosen:
        split = experiment_table(outcomes, design, kind.kl_weight)
        parts = pd.DataFrame.from_records(_part_rows(split, design), columns=table.columns)
        table = pd.concat([table.astype(object), parts.astype(object)], ignore_index=True)
    numbers = ["value", "low", "high"]
    table = table.astype(dict.fromkeys(numbers, float) | {"n": int, "seeds": int})
    rows = [row for _, row in table.iterrows()]
    bounds = [_bounds(row) for row in rows]
    table["lower"] = [low for low, _ in bounds]
    table["upper"] = [high for _, high in bounds]
    table["words"] = [
        margin_words(low, high, int(row["n"]), margin)
        if row["metric"] == "attainment" and row["state"] == COMPLETE
        else ""
        for row, (low, high) in zip(rows, bounds, strict=True)
    ]
    return table


def _checked(contrasts: Sequence[Contrast], design: Design) -> list[Contrast]:
    found = []
    for contrast in contrasts:
        if isinstance(contrast, str) or len(contrast) != 2 or contrast[0] == contrast[1]:
            raise InputError(f"a contrast is two orderings, e.g. ('A-K', 'K-A'), not {contrast!r}")
        for name in contrast:
            if name not in design.orderings:
                raise InputError(
                    f"the study has no ordering {name!r}; {nearest(name, design.orderings)}"
                )
        found.append((contrast[0], contrast[1]))
    return found


def _part_rows(split: pd.DataFrame, design: Design) -> list[dict[str, Any]]:
    """The order effect's parts as rows of the table of comparisons."""
    rows = []
    for record in split.to_dict("records"):
        seeds = len(design.seeds[record["point"], KD_THEN_ALIGN])
        for part in PARTS:
            rows.append(
                {axis: record[axis] for axis in design.axes}
                | {
                    "contrast": contrast_name((ALIGN_THEN_KD, KD_THEN_ALIGN)),
                    "part": TITLES[part],
                    "comparison": EQUAL_KL_WEIGHT,
                    "metric": "attainment",
                    "point": record["point"],
                    "value": record[part],
                    "low": record[f"{part}_low"],
                    "high": record[f"{part}_high"],
                    "method": STUDENT if record["n"] > 1 else "",
                    "n": record["n"],
                    "seeds": seeds,
                    "dominated": None,
                    "note": "",
                    "state": record["state"],
                }
            )
    return rows


def _bounds(row: pd.Series[Any]) -> tuple[float, float]:
    if row["state"] != COMPLETE:
        return np.nan, np.nan
    n = int(row["n"])
    return one_sided_bounds(Estimate(row["value"], row["low"], row["high"], STUDENT, n))
