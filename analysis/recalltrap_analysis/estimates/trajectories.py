"""The way of each ordering through the plane of recall and target, and its curves on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.statistics.paired import Array

WAYS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "K-A": (("p'", "p_prime"), ("p''", "p_second"), ("p''_KA", "final")),
    "A-K": (("p'", "p_prime"), ("p'_AK", "p_prime_aligned"), ("p''_AK", "final")),
}
"""Per ordering the models it passes through: title, and name in the `metrics` table."""

TARGETS: Mapping[str, str] = {
    "target_precision": "target precision, nats",
    "reward": "reward",
}


@dataclass(frozen=True)
class Way:
    """One ordering's models in order: means over seeds and sample sds, each of shape [M]."""

    ordering: str
    titles: Sequence[str]
    x_M: Array
    y_M: Array
    sd_M: Array
    seeds: int


def ways(outcomes: pd.DataFrame, design: Design, point: GridPoint, metric: str) -> list[Way]:
    """Overall recall against a target metric, for K-A and A-K at one grid point.

    A model that has a value that is not finite in any seed is left out of its way. `sd_M` is that
    of the target metric, 0 with one seed.
    """
    keys = point_keys(outcomes, design.axes)
    here = outcomes[[key == point for key in keys]]
    found = []
    for ordering, models in WAYS.items():
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
            found.append(Way(ordering, titles, *arrays, len(rows)))
    return found


def left_out(found: Sequence[Way]) -> list[str]:
    """The models that the ways at one grid point lack, e.g. ``p'_AK of A-K``; and whole ways."""
    lacking = []
    shown = {way.ordering: set(way.titles) for way in found}
    for ordering, models in WAYS.items():
        if ordering not in shown:
            lacking.append(ordering)
            continue
        lacking += [f"{title} of {ordering}" for title, _ in models if title not in shown[ordering]]
    return lacking


SELECTION: Mapping[str, str] = {
    "reward": "mean reward of the policy's samples",
    "reward_sd": "standard deviation of the reward",
    "chosen_reward": "mean reward of chosen answers",
    "rejected_reward": "mean reward of rejected answers",
    "reward_margin": "reward margin, chosen minus rejected",
    "accuracy": "accuracy on fresh pairs",
}
"""Curves a checkpoint is chosen by: figure 13 (the first two) and figure 14 (the others)."""

SAME: Mapping[str, str] = {
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
    "rewards/margins": "reward_margin",
    "rewards/accuracies": "accuracy",
}


@dataclass(frozen=True)
class Course:
    """One curve over seeds: steps, means, and the range between seeds, each of shape [T]."""

    step_T: Array
    mean_T: Array
    low_T: Array
    high_T: Array
    seeds: int


def courses(curves: pd.DataFrame, orderings: Sequence[str]) -> dict[tuple[str, str], Course]:
    """Selection curves by metric and ordering.

    Args:
        curves: Columns `ordering`, `seed`, `stage`, `step`, `metric`, `value`: the `curves` table
            of one grid point's cells. Only the first alignment of each ordering counts.
        orderings: Which to show.

    Returns:
        Steps that every seed with a curve has a finite value at, with the mean, the lowest and the
        highest of those seeds.
    """
    found: dict[tuple[str, str], Course] = {}
    if curves.empty:
        return found
    known = np.isfinite(curves["value"].to_numpy(dtype=float))
    rows = curves[known & (curves["stage"] == "align").to_numpy()]
    rows = rows.assign(metric=[SAME.get(name, name) for name in rows["metric"]])
    for metric in SELECTION:
        for ordering in orderings:
            mine = rows[(rows["metric"] == metric) & (rows["ordering"] == ordering)]
            if mine.empty:
                continue
            table: pd.DataFrame = mine.pivot_table(index="step", columns="seed", values="value")
            table = table.dropna()
            values: Any = table.to_numpy(dtype=float)
            if len(table) > 1:
                found[metric, ordering] = Course(
                    table.index.to_numpy(dtype=float),
                    values.mean(axis=1),
                    values.min(axis=1),
                    values.max(axis=1),
                    values.shape[1],
                )
    return found


CHOSEN = "selected"
"""The curve whose one point is the step of the checkpoint that an alignment ended with."""


def chosen_steps(curves: pd.DataFrame, orderings: Sequence[str]) -> dict[str, Array]:
    """The step of each seed's chosen checkpoint, by ordering; of the first alignment alone."""
    if curves.empty:
        return {}
    rows = curves[(curves["stage"] == "align") & (curves["metric"] == CHOSEN)]
    found = {name: rows[rows["ordering"] == name]["step"].to_numpy(float) for name in orderings}
    return {name: step_N for name, step_N in found.items() if len(step_N)}


def curve_query(cell_ids: Sequence[str]) -> str:
    """The SQL that finds the alignment curves of some cells."""
    ids = ", ".join("'" + name.replace("'", "''") + "'" for name in cell_ids)
    return f"""select ordering, seed, stage, step, metric, curves.value
from curves join cells using (cell_id)
where stage = 'align' and cell_id in ({ids})
order by all"""
