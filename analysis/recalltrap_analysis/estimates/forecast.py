"""The trap forecast before any alignment: what the references alone say each ordering can reach.

The exact optimum of the KL-regularised objective, anchored to p'' for K-A and to p' for A-K, is
the predicted reward. Once a study has run, its outcomes score the prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recalltrap.streams import stream
from recalltrap_analysis.estimates.attainment import attainment
from recalltrap_analysis.estimates.order_effect import by_point, estimate_means, spread
from recalltrap_analysis.runs.design import GridPoint
from recalltrap_analysis.runs.kind_record import KindRecord, OptimumCheck, record_of
from recalltrap_analysis.runs.wide_tables import cell_outcomes, column, point_keys
from recalltrap_analysis.statistics.paired import Array

NO_FORECAST = "no forecast: "
TITLES: Mapping[str, str] = {
    "K-A": "K-A: reward of p''_KA against the optimum anchored to p''",
    "A-K": "A-K: reward of p'_AK against the optimum anchored to p'",
}


def forecast_table(metrics: pa.Table, axes: Sequence[str], kind: str) -> pd.DataFrame:
    """What every grid point promises, from rows of `metrics` for `p_prime` and `p_second` alone.

    Args:
        metrics: A `metrics` table; models other than p' and p'' are not needed, nor looked at.
        axes: The grid's axes.
        kind: The study's kind, by name.

    Returns:
        One row per grid point, fit for Arrow: the axes, `state`, `seeds`, then with `_low` and
        `_high` the means over seeds of `reward_ka` and `reward_ak` (the optimum anchored to p''
        and to p'; for A-K before its last distillation), `severity` (a*(p') - a*(p'')),
        `hit_rate_p_prime` and `hit_rate_p_second`; `samples_to_hit_p_prime` and
        `samples_to_hit_p_second`, the samples to expect before the first hit at the mean hit
        rate; `method`. Where the kind's check of its optima has numbers, also its two columns,
        the smallest over the seeds, and `reliability`: empty, or what is wrong.
    """
    analysis = record_of(kind)
    outcomes = cell_outcomes(metrics, axes, analysis.reward_supremum)
    return forecast_points(outcomes, axes, analysis).drop(columns="point")


def forecast_points(outcomes: pd.DataFrame, axes: Sequence[str], kind: KindRecord) -> pd.DataFrame:
    """`forecast_table` of wide outcomes, with the column `point` to join other tables on."""
    check = kind.optimum_check
    groups = by_point(reference_rows(outcomes, axes, check))
    states = {point: _state(rows) for point, rows in groups.items()}
    complete = {point: groups[point] for point, state in states.items() if state == "complete"}
    if not any(_checked(rows, check) for rows in groups.values()):
        check = None
    generator = stream(0, "analysis/forecast")
    estimates = estimate_means(complete, MEANS, generator)
    records = []
    for point, state in states.items():
        record: dict[str, Any] = dict(zip(axes, point, strict=True))
        record |= {"point": point, "state": state, "seeds": len(groups[point])}
        record |= spread(estimates.get(point, {}), list(MEANS))
        for model in ("p_prime", "p_second"):
            rate = record[f"hit_rate_{model}"]
            record[f"samples_to_hit_{model}"] = (
                1 / rate if rate > 0 else (np.inf if rate == 0 else rate)
            )
        found = estimates.get(point, {}).get("severity")
        record["method"] = found.method if found else ""
        records.append(record | _reliability(groups[point], check))
    return pd.DataFrame.from_records(
        records, columns=list(records[0]) if records else [*axes, "point", "state", "seeds"]
    )


FORECAST = ("reward_ka", "reward_ak", "severity")
"""What a grid point must have to be forecast; hit rates are shown where they are known."""
MEANS = {
    name: (lambda rows, name=name: rows[name])
    for name in (*FORECAST, "hit_rate_p_prime", "hit_rate_p_second")
}


REFERENCES = ("p_prime", "p_second")


def _checked(rows: pd.DataFrame, check: OptimumCheck | None) -> bool:
    """Whether any optimum has the number that tells how far to trust it."""
    if check is None:
        return False
    return bool(rows[[f"{check.column}_{name}" for name in REFERENCES]].notna().any(axis=None))


def _reliability(rows: pd.DataFrame, check: OptimumCheck | None) -> dict[str, Any]:
    """How well the optima of one grid point are known; nothing where all are exact."""
    if check is None:
        return {}
    names = [f"{check.column}_{name}" for name in REFERENCES]
    return {**{name: rows[name].min() for name in names}, "reliability": check.reliability(rows)}


def reference_rows(
    outcomes: pd.DataFrame, axes: Sequence[str], check: OptimumCheck | None = None
) -> pd.DataFrame:
    """One row per grid point and seed: what the references say, whatever the ordering.

    Every cell of a seed reports the same references, so the first one stands for all.
    """
    rows = pd.DataFrame(
        {
            "point": pd.Series(point_keys(outcomes, axes), dtype=object),
            "seed": outcomes["seed"],
            "reward_start": column(outcomes, "p_second.reward"),
            "reward_supremum": column(outcomes, "reward_supremum"),
            "reward_ka": column(outcomes, "p_second.optimum_reward"),
            "reward_ak": column(outcomes, "p_prime.optimum_reward"),
            "hit_rate_p_prime": column(outcomes, "p_prime.hit_rate"),
            "hit_rate_p_second": column(outcomes, "p_second.hit_rate"),
            "recall_p_prime": column(outcomes, "p_prime.overall_recall"),
            "recall_p_second": column(outcomes, "p_second.overall_recall"),
            **_check_columns(outcomes, check),
        }
    ).drop_duplicates(["point", "seed"])
    start, supremum = rows["reward_start"].to_numpy(), rows["reward_supremum"].to_numpy()
    best_ak = attainment(rows["reward_ak"].to_numpy(), start, supremum)
    best_ka = attainment(rows["reward_ka"].to_numpy(), start, supremum)
    return rows.assign(severity=best_ak - best_ka)


def _check_columns(outcomes: pd.DataFrame, check: OptimumCheck | None) -> dict[str, Any]:
    if check is None:
        return {}
    return {
        f"{check.column}_{name}": column(outcomes, f"{name}.{check.metric}") for name in REFERENCES
    }


def _state(rows: pd.DataFrame) -> str:
    values = rows[list(FORECAST)].to_numpy(dtype=float)
    bad = ~np.isfinite(values)
    if not bad.any():
        return "complete"
    names = ", ".join(name for name, lacks in zip(FORECAST, bad.any(axis=0), strict=True) if lacks)
    return f"{NO_FORECAST}no finite {names} in {int(bad.any(axis=1).sum())} of {len(rows)} seeds"


def forecast_pairs(outcomes: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Predicted and reached reward of every cell that has both.

    Returns:
        Columns `point`, `ordering` (`K-A`: final against the optimum anchored to p''; `A-K`: the
        aligned intermediate p'_AK against the optimum anchored to p'), `seed`, `predicted`,
        `reached`.
    """
    keyed = outcomes.assign(point=pd.Series(point_keys(outcomes, axes), dtype=object))
    sources = {
        "K-A": ("p_second.optimum_reward", "final.reward"),
        "A-K": ("p_prime.optimum_reward", "p_prime_aligned.reward"),
    }
    arms = []
    for ordering, (predicted, reached) in sources.items():
        arm = keyed[keyed["ordering"] == ordering]
        arms.append(
            pd.DataFrame(
                {
                    "point": arm["point"],
                    "ordering": ordering,
                    "seed": arm["seed"],
                    "predicted": column(arm, predicted),
                    "reached": column(arm, reached),
                }
            )
        )
    return pd.concat(arms, ignore_index=True).dropna(subset=["predicted", "reached"])


def forecast_error(predicted_N: Array, reached_N: Array) -> dict[str, float]:
    """`mae` and `bias` (predicted minus reached), in the values' unit; NaN without values."""
    error_N = np.asarray(predicted_N, dtype=float) - np.asarray(reached_N, dtype=float)
    if error_N.size == 0:
        return {"mae": np.nan, "bias": np.nan}
    return {"mae": float(np.abs(error_N).mean()), "bias": float(error_N.mean())}


def error_table(pairs: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """The forecast's error per grid point and ordering, then over all cells (`point` is None).

    Args:
        pairs: Rows of `forecast_pairs`.
        axes: The grid's axes.

    Returns:
        The axes, `point`, `ordering`, `cells`, `mae`, `bias`.
    """
    records: list[dict[str, Any]] = []

    def add(point: GridPoint | None, ordering: str, rows: pd.DataFrame) -> None:
        values = point if point is not None else [None] * len(axes)
        record: dict[str, Any] = dict(zip(axes, values, strict=True))
        record |= {"point": point, "ordering": ordering, "cells": len(rows)}
        predicted, reached = rows["predicted"].to_numpy(), rows["reached"].to_numpy()
        records.append(record | forecast_error(predicted, reached))

    for point, rows in by_point(pairs).items():
        for ordering, arm in rows.groupby("ordering", sort=False):
            add(point, str(ordering), arm)
    for ordering, arm in pairs.groupby("ordering", sort=False):
        add(None, str(ordering), arm)
    columns = [*axes, "point", "ordering", "cells", "mae", "bias"]
    return pd.DataFrame.from_records(records, columns=columns)
