"""What the order of stages does: attainment, the paired order effect, trap rate, instability.

The order effect is the paired difference of attainments, A-K minus K-A, per seed. A grid point that
misses pairs or holds a value that is not finite is labelled and gets no numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.errors import InputError
from recalltrap_analysis.estimates.attainment import attainment
from recalltrap_analysis.number_format import point_text
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.kind_record import OptimumCheck
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.statistics.paired import (
    Array,
    Estimate,
    holm,
    instability_ratio,
    mean_intervals,
    share_interval,
    sign_flip_p_values,
)

KD_THEN_ALIGN, ALIGN_THEN_KD = "K-A", "A-K"
COMPLETE = "complete"
TRAPPED_BELOW = 0.5


def trapped(attainment_ka: Array, attainment_ak: Array) -> Array:
    """Per pair: K-A attains less than half while its A-K attains at least half. Boolean."""
    return np.asarray((attainment_ka < TRAPPED_BELOW) & (attainment_ak >= TRAPPED_BELOW))


PAIRED: Mapping[str, tuple[str, ...]] = {
    "final.reward": ("reward_ka", "reward_ak"),
    "final.target_precision": ("target_precision_ka", "target_precision_ak"),
    "final.overall_recall": ("recall_ka", "recall_ak"),
}


def pair_orderings(
    outcomes: pd.DataFrame, axes: Sequence[str], check: OptimumCheck | None = None
) -> pd.DataFrame:
    """One row per grid point and seed that has both K-A and A-K.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        axes: The grid's axes; the two orderings are paired on these and the seed.
        check: What tells how far the optima can be trusted, if the kind has such a number.

    Returns:
        Columns `point`, `seed`, `reward_start` (R0), `reward_supremum` (R_max), reward, target
        precision, recall and attainment of each ordering (`_ka`, `_ak`), the reward and
        attainment of p'_AK (`_p_prime_ak`), of the exact optima anchored to p' and p''
        (`_optimum_p_prime`, `_optimum_p_second`), the check's two columns, `order_effect`, and
        `shared_start`: whether both orderings report the same R0, as they must.
    """
    rows_ka = _rows(outcomes, axes, KD_THEN_ALIGN)
    rows_ak = _rows(outcomes, axes, ALIGN_THEN_KD)
    keys = [key for key in rows_ka if key in rows_ak]
    ka = outcomes.iloc[[rows_ka[key] for key in keys]].reset_index(drop=True)
    ak = outcomes.iloc[[rows_ak[key] for key in keys]].reset_index(drop=True)
    values = {
        "reward_start": column(ka, "p_second.reward"),
        "reward_supremum": column(ka, "reward_supremum"),
        "reward_p_prime_ak": column(ak, "p_prime_aligned.reward"),
        "reward_optimum_p_prime": column(ak, "p_prime.optimum_reward"),
        "reward_optimum_p_second": column(ka, "p_second.optimum_reward"),
    }
    if check is not None:
        for name, arm in (("p_prime", ak), ("p_second", ka)):
            values[f"{check.column}_{name}"] = column(arm, f"{name}.{check.metric}")
    for metric, (name_ka, name_ak) in PAIRED.items():
        values[name_ka], values[name_ak] = column(ka, metric), column(ak, metric)
    pairs = pd.DataFrame(values)
    start, supremum = pairs["reward_start"].to_numpy(), pairs["reward_supremum"].to_numpy()
    for arm_name in ("ka", "ak", "p_prime_ak", "optimum_p_prime", "optimum_p_second"):
        reward = pairs[f"reward_{arm_name}"].to_numpy()
        pairs[f"attainment_{arm_name}"] = attainment(reward, start, supremum)
    pairs["order_effect"] = pairs["attainment_ak"] - pairs["attainment_ka"]
    other = column(ak, "p_second.reward").to_numpy()
    pairs["shared_start"] = np.isclose(start, other, rtol=0, atol=1e-5) | np.isnan(other)
    points = pd.Series([point for point, _ in keys], dtype=object)
    return pairs.assign(point=points, seed=pd.Series([seed for _, seed in keys], dtype="int64"))


def _rows(
    outcomes: pd.DataFrame, axes: Sequence[str], ordering: str
) -> dict[tuple[GridPoint, int], int]:
    rows: dict[tuple[GridPoint, int], int] = {}
    columns = (outcomes["ordering"], point_keys(outcomes, axes), outcomes["seed"])
    for position, (name, point, seed) in enumerate(zip(*columns, strict=True)):
        if name != ordering:
            continue
        if (point, int(seed)) in rows:
            raise InputError(
                f"two {ordering} cells of seed {seed} at {point_text(point, axes)}: the axes "
                f"({', '.join(axes) or 'none'}) don't tell the cells apart"
            )
        rows[point, int(seed)] = position
    return rows


def grid_state(design: Design, point: GridPoint, pairs: pd.DataFrame | None) -> str:
    """`complete`, or why a grid point gets no numbers.

    Args:
        design: What was planned.
        point: The grid point.
        pairs: Its rows of `pair_orderings`, or None where it has none.
    """
    for name in (KD_THEN_ALIGN, ALIGN_THEN_KD):
        if (point, name) not in design.seeds:
            return f"no {name} in the study"
    ka, ak = (set(design.seeds[point, name]) for name in (KD_THEN_ALIGN, ALIGN_THEN_KD))
    if ka != ak:
        return "unbalanced: the orderings were planned with different seeds"
    found = set() if pairs is None else set(pairs["seed"])
    if lacking := len(ka - found):
        return f"incomplete: {lacking} of {len(ka)} pairs missing"
    assert pairs is not None
    finite_N = np.isfinite(pairs["order_effect"].to_numpy(dtype=float))
    if not finite_N.all():
        return f"not finite in {int((~finite_N).sum())} of {len(ka)} pairs: order effect"
    if not pairs["shared_start"].all():
        return "not comparable: the orderings do not share p''"
    return COMPLETE


def by_point(frame: pd.DataFrame) -> dict[GridPoint, pd.DataFrame]:
    """The rows of each grid point, sorted by seed; `frame` has columns `point` and `seed`."""
    rows: dict[GridPoint, list[int]] = {}
    for position, point in enumerate(frame["point"]):
        rows.setdefault(point, []).append(position)
    return {point: frame.iloc[found].sort_values("seed") for point, found in rows.items()}


def planned_points(
    design: Design, pairs: pd.DataFrame
) -> dict[GridPoint, tuple[str, pd.DataFrame]]:
    """State and planned pairs of every grid point, in the design's order."""
    groups = by_point(pairs)
    result = {}
    for point in design.points:
        rows = groups.get(point, pairs.iloc[:0])
        wanted = design.seeds.get((point, KD_THEN_ALIGN), ())
        rows = rows[rows["seed"].isin(list(wanted))]
        result[point] = (grid_state(design, point, rows), rows)
    return result


MEANS: Mapping[str, Callable[[pd.DataFrame], Any]] = {
    "order_effect": lambda p: p["order_effect"],
    "target_precision_difference": lambda p: p["target_precision_ak"] - p["target_precision_ka"],
    "recall_difference": lambda p: p["recall_ak"] - p["recall_ka"],
    "attainment_ka": lambda p: p["attainment_ka"],
    "attainment_ak": lambda p: p["attainment_ak"],
}
"""Columns of the order effect's table that are means over pairs; differences are A-K minus K-A."""


def order_effect_table(
    pairs: pd.DataFrame, design: Design, generator: np.random.Generator
) -> pd.DataFrame:
    """One row per grid point (all axes except the ordering), in the design's order.

    Returns:
        The axes; `point`; `state` (`complete` or the reason for having no numbers); `pairs` and
        `planned_pairs`; for every estimate X of `MEANS`, `trap_rate` and `instability_ratio`:
        X, `X_low`, `X_high`; `method` of the means' interval; `p_value` (paired sign flips) and
        `p_holm` (over the complete grid points).
    """
    states = planned_points(design, pairs)
    complete = [point for point, (state, _) in states.items() if state == COMPLETE]
    estimates = _estimates({point: states[point][1] for point in complete}, generator)
    records = []
    for point, (state, rows) in states.items():
        record: dict[str, Any] = dict(zip(design.axes, point, strict=True))
        record["point"], record["state"], record["pairs"] = point, state, len(rows)
        record["planned_pairs"] = len(design.seeds.get((point, KD_THEN_ALIGN), ()))
        record |= spread(estimates.get(point, {}), [*MEANS, "trap_rate", "instability_ratio"])
        order_effect = estimates.get(point, {}).get("order_effect")
        record["method"] = order_effect.method if order_effect else ""
        records.append(record)
    table = pd.DataFrame.from_records(
        records, columns=list(records[0]) if records else [*design.axes, "point", "state"]
    )
    return _with_p_values(table, {p: states[p][1] for p in complete}, generator)


def spread(estimates: Mapping[str, Estimate], names: Sequence[str]) -> dict[str, float]:
    """Columns X, X_low, X_high for every name; NaN where there is no estimate."""
    record = {}
    for name in names:
        found = estimates.get(name)
        record[name] = found.value if found else np.nan
        record[f"{name}_low"] = found.low if found else np.nan
        record[f"{name}_high"] = found.high if found else np.nan
    return record


def _estimates(
    complete: Mapping[GridPoint, pd.DataFrame], generator: np.random.Generator
) -> dict[GridPoint, dict[str, Estimate]]:
    estimates = estimate_means(complete, MEANS, generator)
    for point, rows in complete.items():
        ka, ak = rows["attainment_ka"].to_numpy(), rows["attainment_ak"].to_numpy()
        estimates[point]["trap_rate"] = share_interval(int(trapped(ka, ak).sum()), len(rows))
        try:
            ratio = instability_ratio(rows["reward_ka"], rows["reward_ak"])
        except ValueError:  # under three seeds, or an arm that doesn't vary: there is no ratio
            continue
        estimates[point]["instability_ratio"] = ratio
    return estimates


def estimate_means(
    groups: Mapping[GridPoint, pd.DataFrame],
    means: Mapping[str, Callable[[pd.DataFrame], Any]],
    generator: np.random.Generator,
) -> dict[GridPoint, dict[str, Estimate]]:
    """Mean and interval of every named series of every group; groups of one size share draws.

    A series that holds a value that is not finite has no estimate: it is left out, not averaged
    over the seeds that happen to be there.
    """
    result: dict[GridPoint, dict[str, Estimate]] = {point: {} for point in groups}
    series: dict[int, dict[tuple[GridPoint, str], Array]] = {}
    for point, rows in groups.items():
        for name, mean in means.items():
            values_N = np.asarray(mean(rows), dtype=float)
            if len(values_N) and np.isfinite(values_N).all():
                series.setdefault(len(values_N), {})[point, name] = values_N
    for size in sorted(series):
        found = mean_intervals(np.stack(list(series[size].values()), axis=1), generator)
        for (point, name), estimate in zip(series[size], found, strict=True):
            result[point][name] = estimate
    return result


def flips_for(points: int) -> int:
    """Sign flips to draw: Holm over a large grid needs a finer p-value."""
    return max(9999, 100 * points)


def _with_p_values(
    table: pd.DataFrame, complete: Mapping[GridPoint, pd.DataFrame], generator: np.random.Generator
) -> pd.DataFrame:
    p_values: dict[GridPoint, float] = {}
    for size in sorted({len(rows) for rows in complete.values() if len(rows) > 1}):
        points = [point for point, rows in complete.items() if len(rows) == size]
        series = np.stack(
            [complete[p]["order_effect"].to_numpy(dtype=float) for p in points], axis=1
        )
        found_S = sign_flip_p_values(series, generator, resamples=flips_for(len(complete)))
        p_values |= dict(zip(points, found_S, strict=True))
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True)) if p_values else {}
    found = table["point"].tolist() if len(table) else []
    table["p_value"] = np.array([p_values.get(point, np.nan) for point in found], dtype=float)
    table["p_holm"] = np.array([adjusted.get(point, np.nan) for point in found], dtype=float)
    return table
