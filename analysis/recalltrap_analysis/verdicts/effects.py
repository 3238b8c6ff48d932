"""All effects of a run with their verdict on the margin: what `results.effects()` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.attainment import ATTAINMENT
from recalltrap_analysis.estimates.contrasts import (
    EQUAL_KL_WEIGHT,
    Contrast,
    contrast_name,
    fair_comparisons,
)
from recalltrap_analysis.estimates.experiment import PARTS, TITLES, experiment_table
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, COMPLETE, KD_THEN_ALIGN
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import KindRecord, record_of
from recalltrap_analysis.runs.protocol import Run
from recalltrap_analysis.runs.wide_tables import cell_outcomes, rows_of
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.margin import margin_words
from recalltrap_analysis.statistics.paired import STUDENT, Estimate
from recalltrap_analysis.statistics.student import one_sided_bounds
from recalltrap_analysis.verdicts.judgement import (
    Judgement,
    checked_contrasts,
    from_zero_on,
    judgement_of,
)
from recalltrap_analysis.verdicts.scorer_effects import REWARD, scorer_judgement
from recalltrap_analysis.verdicts.scores import score_metric, scored, scorers


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
        contrasts: Pairs of orderings, compared as first minus second; the study's own unless given.
        margin: The largest difference of rewards that doesn't matter, in attainment or, where the
            reward has no supremum, in its standard deviations; the study's own unless given.
        recall_budget: Nats of overall recall below p' that a model may lose, seed by seed; the
            study's own unless given.

    Returns:
        As `effects_table`.

    Raises:
        InputError: the study has no such ordering, or the margin or the budget is no number from 0
            on.
    """
    kind = record_of(results.study.kind)
    axes = tuple(results.axes)
    design = Design.of(results.planned(), axes)
    outcomes = cell_outcomes(results.table("metrics"), axes, kind.reward_supremum)
    judgement = judgement_of(results, kind, outcomes)
    if contrasts is not None:
        chosen = checked_contrasts(contrasts, design.orderings)
        judgement = replace(judgement, contrasts=chosen)
    if margin is not None:
        judgement = replace(judgement, margin=from_zero_on("margin", margin))
    if recall_budget is not None:
        budget = from_zero_on("recall_budget", recall_budget)
        judgement = replace(judgement, recall_budget=budget)
    return effects_table(outcomes, design, kind, judgement)


def effects_table(
    outcomes: pd.DataFrame, design: Design, kind: KindRecord, judgement: Judgement
) -> pd.DataFrame:
    """One row per contrast, part, comparison, metric and grid point.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        design: What was planned.
        kind: What the analysis knows of the study's kind.
        judgement: Of the run.

    Returns:
        The columns of `fair_comparisons`, and `lower`, `upper` (one-sided bounds), `level` (theirs:
        5 %, or less where the data were looked at more than once), `unit`, and `words`:
        `margin_words` of a difference of rewards, each row by itself; empty for other metrics
        and where there are no numbers. `metric` of rewards is `attainment`, or `reward` where it
        has no supremum; `score/<scorer>` of scorers, in their own unit, with a margin in standard
        deviations. `part` is `difference`, or a part of the order effect.
    """
    table = _judged_by_reward(outcomes, design, kind, judgement)
    others = [
        _judged_by_scorer(outcomes, design, kind, judgement, name) for name in scorers(outcomes)
    ]
    return pd.concat([table, *others], ignore_index=True) if others else table


def _judged_by_scorer(
    outcomes: pd.DataFrame, design: Design, kind: KindRecord, judgement: Judgement, scorer: str
) -> pd.DataFrame:
    """The same by a scorer: `metric` is called after it; what isn't of rewards is left out."""
    rules = scorer_judgement(judgement, scorer)
    table = _judged_by_reward(scored(outcomes, scorer), design, kind, rules)
    of_reward = table[table["metric"] == REWARD]
    return of_reward.assign(metric=score_metric(scorer)).reset_index(drop=True)


def _judged_by_reward(
    outcomes: pd.DataFrame, design: Design, kind: KindRecord, judgement: Judgement
) -> pd.DataFrame:
    table = fair_comparisons(
        outcomes, design, kind.kl_weight, judgement.contrasts, judgement.recall_budget
    )
    if (ALIGN_THEN_KD, KD_THEN_ALIGN) in judgement.contrasts:
        split = experiment_table(outcomes, design, kind.kl_weight)
        parts = pd.DataFrame.from_records(_part_rows(split, design), columns=table.columns)
        table = pd.concat([table.astype(object), parts.astype(object)], ignore_index=True)
    numbers = ["value", "low", "high"]
    table = table.astype(dict.fromkeys(numbers, float) | {"n": int, "seeds": int})
    level = nominal_level(judgement.looks)
    rows = rows_of(table)
    bounds = [_bounds(row, level) for row in rows]
    attained = table["metric"] == ATTAINMENT
    if judgement.unit != ATTAINMENT:
        table["metric"] = table["metric"].where(~attained, REWARD)
    table["lower"] = [low for low, _ in bounds]
    table["upper"] = [high for _, high in bounds]
    table["level"] = level
    table["unit"] = np.where(attained, judgement.unit, "nats")
    table["words"] = [
        margin_words(low, high, int(row["n"]), judgement.margin)
        if of_reward and row["state"] == COMPLETE
        else ""
        for row, (low, high), of_reward in zip(rows, bounds, attained, strict=True)
    ]
    return table.drop(columns=["freedom"])


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
                    "freedom": record["n"] - 1.0,
                    "n": record["n"],
                    "seeds": seeds,
                    "dominated": None,
                    "note": "",
                    "state": record["state"],
                }
            )
    return rows


def _bounds(row: Mapping[str, Any], level: float) -> tuple[float, float]:
    if row["state"] != COMPLETE:
        return np.nan, np.nan
    n = int(row["n"])
    estimate = Estimate(row["value"], row["low"], row["high"], str(row["method"]), n)
    return one_sided_bounds(estimate, level, float(row["freedom"]))
