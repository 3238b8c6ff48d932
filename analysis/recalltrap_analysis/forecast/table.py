"""The forecast of the anchor part, a*(p') - a*(p''), at every grid point.

From the references and the reward alone, before any alignment: how much more alignment can attain
anchored to p' than to p''. It is no forecast of the order effect, for it leaves A-K's last
distillation out. Two ways: the optimum of the KL-regularised objective, and best of n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recalltrap.graph import Cell
from recalltrap_analysis.estimates.attainment import reward_unit, usual_margin
from recalltrap_analysis.estimates.order_effect import COMPLETE, by_point, spread
from recalltrap_analysis.estimates.references import (
    REFERENCES,
    difference_in_unit,
    reference_rows,
)
from recalltrap_analysis.forecast.best_of_n import COLUMNS, BestOfNRows, best_of_n_rows
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import KindRecord, OptimumCheck, record_of
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.margin import margin_words
from recalltrap_analysis.statistics.student import one_sided_bounds, student_interval

NO_FORECAST = "no forecast: "
UNRELIABLE = "unreliable"
"""The word where an anchor's optimum rests on too few effective samples, whatever its size."""

NEEDED = ("optimum_reward_p_second", "optimum_reward_p_prime", "anchor_part")
"""What a grid point must have to be forecast; the rest is shown where it is known."""
MEANS = (
    "anchor_part",
    "best_of_n_anchor_part",
    *(f"{number}_{name}" for number in ("optimum_reward", "best_of_n_reward",
                                        "best_of_n_objective", "hit_rate") for name in REFERENCES),
)  # fmt: skip


@dataclass(frozen=True)
class AnchorForecast:
    """The forecast of a study, before or after it ran.

    `points` has one row per grid point and is fit for Arrow but for the column `point`; see
    `forecast_points`. `rows` has one per grid point and seed. `margin` is what `points.words`
    judges by, in `unit`; `no_best_of_n`: why best of n is lacking somewhere, or empty.
    """

    points: pd.DataFrame
    rows: pd.DataFrame
    axes: tuple[str, ...]
    kind: KindRecord
    margin: float
    unit: str
    no_best_of_n: str


def forecast(
    metrics: pa.Table,
    cells: Sequence[Cell],
    store: ArtifactReader,
    axes: Sequence[str],
    kind: str,
    margin: float | None = None,
) -> AnchorForecast:
    """The forecast of the anchor part from p' and p'' alone.

    Args:
        metrics: A `metrics` table; models other than p' and p'' are not needed, nor looked at.
        cells: The cells it is of.
        store: Holds their references.
        axes: The grid's axes.
        kind: The study's kind, by name.
        margin: The largest difference that doesn't matter, in the run's unit; None: as usual.
    """
    record = record_of(kind)
    outcomes = cell_outcomes(metrics, axes, record.reward_supremum)
    best = best_of_n_rows(cells, axes, record, store)
    return forecast_of(outcomes, best, Design.of(cells, axes), record, margin)


def forecast_of(
    outcomes: pd.DataFrame,
    best_of_n: BestOfNRows,
    design: Design,
    kind: KindRecord,
    margin: float | None = None,
) -> AnchorForecast:
    """`forecast` of wide outcomes, one row per cell, and the best of n of its references.

    Grid points stand in the design's order.
    """
    unit = reward_unit(outcomes)
    margin = usual_margin(unit) if margin is None else margin
    rows = reference_rows(outcomes, design.axes, kind.optimum_check)
    place = {point: place for place, point in enumerate(design.points)}
    order = np.argsort([place.get(point, len(place)) for point in rows["point"]], kind="stable")
    rows = _with_best_of_n(rows.iloc[order], best_of_n.rows)
    points = forecast_points(rows, design.axes, kind.optimum_check, margin)
    return AnchorForecast(points, rows, design.axes, kind, margin, unit, best_of_n.lacking)


def _with_best_of_n(rows: pd.DataFrame, best_of_n: pd.DataFrame) -> pd.DataFrame:
    """The same rows with the columns of `BestOfNRows`, and `best_of_n_anchor_part`."""
    found = {
        (point, seed): numbers
        for point, seed, *numbers in best_of_n[["point", "seed", *COLUMNS]].itertuples(index=False)
    }
    nothing = [np.nan] * len(COLUMNS)
    values = [found.get(key, nothing) for key in zip(rows["point"], rows["seed"], strict=True)]
    numbers = pd.DataFrame(values, columns=COLUMNS, index=rows.index, dtype=float)
    joined = pd.concat([rows, numbers], axis=1)
    return joined.assign(best_of_n_anchor_part=difference_in_unit(joined, "best_of_n_reward"))


def forecast_points(
    rows: pd.DataFrame, axes: Sequence[str], check: OptimumCheck | None, margin: float
) -> pd.DataFrame:
    """What every grid point promises.

    Returns:
        One row per grid point: the axes, `point`, `state` (`complete`, or why there is no
        forecast), `seeds`, `words` (what the anchor part's one-sided 5 % bounds say of the margin,
        or `unreliable`), then with `_low` and `_high` the means over seeds, by Student's t:
        `anchor_part` (a*(p') - a*(p'')) and `best_of_n_anchor_part`, and of p' and p''
        (`_p_prime`, `_p_second`) `optimum_reward`, `best_of_n_reward`, `best_of_n_objective` and
        `hit_rate`. Without an interval `n`, the median over seeds, and `samples_to_hit`, the
        samples to expect before the first hit at the mean hit rate. `method` of the intervals.
        Where the kind's check of its optima has numbers, also its two columns, the smallest over
        the seeds, and `reliability`: empty, or what is wrong.
    """
    groups = by_point(rows)
    if not any(_checked(found, check) for found in groups.values()):
        check = None
    records = [_record(point, found, axes, check, margin) for point, found in groups.items()]
    return pd.DataFrame.from_records(
        records, columns=list(records[0]) if records else [*axes, "point", "state", "seeds"]
    )


def _record(
    point: tuple[Any, ...],
    rows: pd.DataFrame,
    axes: Sequence[str],
    check: OptimumCheck | None,
    margin: float,
) -> dict[str, Any]:
    state = _state(rows)
    series = {name: rows[name].to_numpy(dtype=float) for name in MEANS}
    estimates = {
        name: student_interval(values_N)
        for name, values_N in series.items()
        if state == COMPLETE and np.isfinite(values_N).all()
    }
    reliability = _reliability(rows, check)
    record: dict[str, Any] = dict(zip(axes, point, strict=True))
    record |= {"point": point, "state": state, "seeds": len(rows), "words": ""}
    if state == COMPLETE:
        anchor = estimates["anchor_part"]
        sure = margin_words(*one_sided_bounds(anchor), anchor.n, margin)
        record["words"] = UNRELIABLE if reliability.get("reliability") else sure
    record |= spread(estimates, MEANS)
    for name in REFERENCES:
        record[f"n_{name}"] = float(rows[f"n_{name}"].median())
    for name in REFERENCES:
        rate = record[f"hit_rate_{name}"]
        record[f"samples_to_hit_{name}"] = 1 / rate if rate > 0 else (np.inf if rate == 0 else rate)
    record["method"] = estimates["anchor_part"].method if state == COMPLETE else ""
    return record | reliability


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


def _state(rows: pd.DataFrame) -> str:
    bad = ~np.isfinite(np.stack([rows[name].to_numpy(dtype=float) for name in NEEDED], axis=1))
    if not bad.any():
        return COMPLETE
    names = ", ".join(name for name, lacks in zip(NEEDED, bad.any(axis=0), strict=True) if lacks)
    return f"{NO_FORECAST}no finite {names} in {int(bad.any(axis=1).sum())} of {len(rows)} seeds"
