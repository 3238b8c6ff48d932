"""How wrong the forecast was, by KL weight: against what the study's alignments then reached.

The error grows with the KL weight, so a number over all weights hides most of it: it never stands
alone here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.experiment import ALIGN_ALONE
from recalltrap_analysis.estimates.order_effect import (
    ALIGN_THEN_KD,
    ANCHORED_TO_P_PRIME,
    KD_THEN_ALIGN,
    by_point,
    spread,
)
from recalltrap_analysis.runs.design import GridPoint
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.statistics.paired import Array, Estimate
from recalltrap_analysis.statistics.student import student_interval

OPTIMUM, BEST_OF_N = "optimum", "best of n"
WAYS = (OPTIMUM, BEST_OF_N)
ANCHOR_PART = "anchor part"


@dataclass(frozen=True)
class Quantity:
    """What is forecast and measured: the forecast's column by each way, and the outcome's."""

    title: str
    columns: Mapping[str, str]
    measured: str


def _reward(title: str, reference: str, measured: str) -> Quantity:
    columns = {
        OPTIMUM: f"optimum_reward_{reference}",
        BEST_OF_N: f"best_of_n_reward_{reference}",
    }
    return Quantity(title, columns, measured)


QUANTITIES = (
    Quantity(
        ANCHOR_PART,
        {OPTIMUM: "anchor_part", BEST_OF_N: "best_of_n_anchor_part"},
        "measured_anchor_part",
    ),
    _reward("reward of K-A, anchored to p''", "p_second", "reached_ka"),
    _reward("reward of K-A@p', anchored to p'", "p_prime", "reached_anchored"),
    _reward("reward of p'_AK, anchored to p'", "p_prime", "reached_p_prime_ak"),
)
"""The anchor part, K-A@p' - K-A, and the models whose alignment has an anchor. A-K's final model
has none."""

SOURCES = {
    "reached_ka": ((KD_THEN_ALIGN, "final.reward"),),
    "reached_anchored": ((ANCHORED_TO_P_PRIME, "final.reward"),),
    "reached_p_prime_ak": (
        (ALIGN_THEN_KD, "p_prime_aligned.reward"),
        (ALIGN_ALONE, "final.reward"),
    ),
}
"""Where each outcome is found, the first that has it."""


def scored_rows(
    forecast_rows: pd.DataFrame, outcomes: pd.DataFrame, axes: Sequence[str]
) -> pd.DataFrame:
    """The forecast's rows, one per grid point and seed, with what was reached there.

    Args:
        forecast_rows: `AnchorForecast.rows`.
        outcomes: One row per cell, as `cell_outcomes` returns it.
        axes: The grid's axes.

    Returns:
        The same rows with `reached_ka`, `reached_anchored` (of K-A@p') and `reached_p_prime_ak`,
        rewards, and `measured_anchor_part`: a(K-A@p') - a(K-A); NaN where it didn't run.
    """
    keys = list(zip(forecast_rows["point"], forecast_rows["seed"], strict=True))
    reached: dict[str, Array] = {}
    for name, sources in SOURCES.items():
        found = np.full(len(keys), np.nan)
        for ordering, metric in sources:
            values = _by_key(outcomes, axes, ordering, metric)
            here = np.array([values.get(key, np.nan) for key in keys], dtype=float)
            found = np.where(np.isfinite(found), found, here)
        reached[name] = found
    gained = reached["reached_anchored"] - reached["reached_ka"]
    measured = gained / forecast_rows["unit_size"].to_numpy(dtype=float)
    return forecast_rows.assign(**reached, measured_anchor_part=measured)


def _by_key(
    outcomes: pd.DataFrame, axes: Sequence[str], ordering: str, metric: str
) -> dict[tuple[GridPoint, Any], float]:
    arm = outcomes[outcomes["ordering"] == ordering]
    keys = zip(point_keys(arm, axes), arm["seed"], strict=True)
    return dict(zip(keys, column(arm, metric), strict=True))


def error_table(
    rows: pd.DataFrame, axes: Sequence[str], kl_weight: str | None, unit: str
) -> pd.DataFrame:
    """The forecast's error, by stratum, quantity, way and KL weight.

    Args:
        rows: Of `scored_rows`.
        axes: The grid's axes.
        kl_weight: The axis of the KL weights; another name, or None, where there is none.
        unit: What the anchor part is measured in; the others are rewards.

    Returns:
        The axes, `point`, `quantity`, `way`, `unit`, `seeds`, then with `_low` and `_high` the
        means over seeds, by Student's t: `forecast`, `measured`, `mean_absolute_error` and `bias`
        (forecast minus measured). Where a stratum has several KL weights, a last row holds them
        all, over the seeds that have every one; there the axis, and `point`, are None.
    """
    names = ("forecast", "measured", "mean_absolute_error", "bias")
    numbers = [name + end for name in names for end in ("", "_low", "_high")]
    columns = [*axes, "point", "quantity", "way", "unit", "seeds", *numbers]
    records = []
    for stratum, points in _strata(rows, axes, kl_weight).items():
        for quantity in QUANTITIES:
            for way in WAYS:
                series = {
                    point: known
                    for point, found in points.items()
                    if len(known := _known(found, quantity, way))
                }
                unit_of = unit if quantity.title == ANCHOR_PART else "reward"
                shared = {"quantity": quantity.title, "way": way, "unit": unit_of}
                for point, known in series.items():
                    where = dict(zip(axes, point, strict=True)) | {"point": point}
                    records.append(where | shared | _errors([known]))
                if len(series) > 1:
                    records.append(stratum_factors(stratum, axes, kl_weight) | shared
                                   | _errors(list(series.values())))  # fmt: skip
    kept_records = [record for record in records if record["seeds"]]
    table = pd.DataFrame.from_records(kept_records, columns=columns)
    # as they are: a KL weight of None would turn the others' column to floats, and itself to NaN
    kept = {a: pd.Series([record[a] for record in kept_records], dtype=object) for a in axes}
    return table.assign(**kept)


def stratum_factors(
    stratum: GridPoint, axes: Sequence[str], kl_weight: str | None
) -> dict[str, Any]:
    """A stratum's axes, the KL weight's and the grid point being None."""
    others = [axis for axis in axes if axis != kl_weight]
    named = dict(zip(others, stratum, strict=True))
    return {axis: named.get(axis) for axis in axes} | {"point": None}


def _strata(
    rows: pd.DataFrame, axes: Sequence[str], kl_weight: str | None
) -> dict[GridPoint, dict[GridPoint, dict[str, Array]]]:
    """The columns of every grid point, by the values of all axes but the KL weight's."""
    kept = [place for place, axis in enumerate(axes) if axis != kl_weight]
    names = ["seed", *{n for q in QUANTITIES for n in (*q.columns.values(), q.measured)}]
    strata: dict[GridPoint, dict[GridPoint, dict[str, Array]]] = {}
    for point, found in by_point(rows).items():
        values = dict(zip(names, found[names].to_numpy(dtype=float).T, strict=True))
        strata.setdefault(tuple(point[place] for place in kept), {})[point] = values
    return strata


BySeed: TypeAlias = dict[float, tuple[float, float]]
"""Forecast and measured by seed."""


def _known(values: Mapping[str, Array], quantity: Quantity, way: str) -> BySeed:
    """Of the seeds that have both."""
    both = zip(values[quantity.columns[way]], values[quantity.measured], strict=True)
    return {
        float(seed): (float(a), float(b))
        for seed, (a, b) in zip(values["seed"], both, strict=True)
        if np.isfinite(a) and np.isfinite(b)
    }


def _errors(weights: Sequence[BySeed]) -> dict[str, Any]:
    """Means over the KL weights, then over the seeds that all of them have."""
    seeds = sorted(set.intersection(*map(set, weights)))
    if not seeds:
        return {"seeds": 0}
    pair_WN2 = np.array([[found[seed] for seed in seeds] for found in weights])
    forecast_WN, measured_WN = pair_WN2[..., 0], pair_WN2[..., 1]
    error_WN = forecast_WN - measured_WN
    estimates: dict[str, Estimate] = {
        "forecast": student_interval(forecast_WN.mean(axis=0)),
        "measured": student_interval(measured_WN.mean(axis=0)),
        "mean_absolute_error": student_interval(np.abs(error_WN).mean(axis=0)),
        "bias": student_interval(error_WN.mean(axis=0)),
    }
    record = spread(estimates, list(estimates))
    least = np.maximum(record["mean_absolute_error_low"], 0.0)
    return {"seeds": len(seeds)} | record | {"mean_absolute_error_low": float(least)}
