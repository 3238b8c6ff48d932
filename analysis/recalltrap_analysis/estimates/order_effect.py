"""What the order of stages does, and what the anchor does: order effect, severity, trap rate.

Per seed and in the run's unit, the order effect is A-K minus K-A and severity is K-A@p' minus K-A:
the same student and start, anchored to p' instead of p''. Where K-A@p' didn't run, the difference
of the optima anchored to p' and to p'' stands in, labelled as an estimate. A grid point that misses
pairs or holds a value that is not finite is labelled and gets no numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.errors import InputError
from recalltrap_analysis.estimates.attainment import in_unit, unit_size
from recalltrap_analysis.number_format import point_text
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.kind_record import OptimumCheck
from recalltrap_analysis.runs.prompt_rewards import prompt_rewards
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.statistics.paired import (
    Array,
    Estimate,
    instability_ratio,
    mean_intervals,
    share_interval,
    sign_flip_p_values,
)
from recalltrap_analysis.statistics.student import student_interval

KD_THEN_ALIGN, ALIGN_THEN_KD, ANCHORED_TO_P_PRIME = "K-A", "A-K", "K-A@p'"
COMPLETE = "complete"
TRAPPED_BELOW = 0.5
TRAP_RATE, BEYOND_MARGIN = "trap_rate", "beyond_margin_rate"
"""Of attainments; where there are none, the share of seeds whose anchor part is beyond the margin
stands instead."""
ESTIMATED = "estimated from the optima"
"""Where severity comes from without `K-A@p'`."""


def trapped(attainment_ka: Array, attainment_other: Array) -> Array:
    """Per pair: K-A attains less than half while the other attains at least half. Boolean."""
    return np.asarray((attainment_ka < TRAPPED_BELOW) & (attainment_other >= TRAPPED_BELOW))


def beyond_margin(level_ka: Array, level_other: Array, margin: float) -> Array:
    """Per pair: the other is above K-A by more than the margin. Boolean."""
    return np.asarray(level_other - level_ka > margin)


def severity_source(design: Design) -> str:
    """Where severity comes from in a study: `K-A@p'`, or `ESTIMATED`."""
    return ANCHORED_TO_P_PRIME if ANCHORED_TO_P_PRIME in design.orderings else ESTIMATED


def severity_title(source: str) -> str:
    """What severity is called; an estimate never without saying that it is one."""
    return f"severity ({ESTIMATED})" if source == ESTIMATED else "severity"


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
        Columns `point`, `seed`, `reward_start` (R0), reward, target precision, recall and
        attainment of each ordering (`_ka`, `_ak`), reward and attainment of p'_AK
        (`_p_prime_ak`), of K-A@p' (`_anchored`) and of the exact optima anchored to p' and p''
        (`_optimum_p_prime`, `_optimum_p_second`), the check's two columns, `order_effect`,
        `severity` and `severity_estimate` (of the optima), and `shared_start`: whether all report
        the same R0, as they must. NaN where there is none. Attainments are in the run's unit,
        whether that is attainment or not. Where rewards are known prompt by prompt, both effects
        have a column for each, see `by_prompt`.
    """
    rows = {
        name: _rows(outcomes, axes, name)
        for name in (KD_THEN_ALIGN, ALIGN_THEN_KD, ANCHORED_TO_P_PRIME)
    }
    keys = [key for key in rows[KD_THEN_ALIGN] if key in rows[ALIGN_THEN_KD]]
    placed = outcomes.reset_index(drop=True)
    ka, ak, anchored = (
        placed.reindex([found.get(key, -1) for key in keys]).reset_index(drop=True)
        for found in rows.values()
    )
    start = column(ka, "p_second.reward")
    values = {
        "reward_start": start,
        "reward_p_prime_ak": column(ak, "p_prime_aligned.reward"),
        "reward_anchored": column(anchored, "final.reward"),
        "reward_optimum_p_prime": column(ak, "p_prime.optimum_reward"),
        "reward_optimum_p_second": column(ka, "p_second.optimum_reward"),
    }
    if check is not None:
        for name, arm in (("p_prime", ak), ("p_second", ka)):
            values[f"{check.column}_{name}"] = column(arm, f"{name}.{check.metric}")
    for metric, (name_ka, name_ak) in PAIRED.items():
        values[name_ka], values[name_ak] = column(ka, metric), column(ak, metric)
    pairs = pd.DataFrame(values)
    for name in ("ka", "ak", "p_prime_ak", "anchored", "optimum_p_prime", "optimum_p_second"):
        pairs[f"attainment_{name}"] = in_unit(ka, pairs[f"reward_{name}"].to_numpy())
    pairs["order_effect"] = pairs["attainment_ak"] - pairs["attainment_ka"]
    pairs["severity"] = pairs["attainment_anchored"] - pairs["attainment_ka"]
    pairs["severity_estimate"] = (
        pairs["attainment_optimum_p_prime"] - pairs["attainment_optimum_p_second"]
    )
    pairs = pd.concat([pairs, *_by_prompt(ka, {"order_effect": ak, "severity": anchored})], axis=1)
    apart = np.zeros(len(pairs), dtype=bool)
    for arm in (ak, anchored):  # NaN is not apart
        apart |= (column(arm, "p_second.reward") - start).abs().to_numpy() > 1e-5
    points = pd.Series([point for point, _ in keys], dtype=object)
    seeds = pd.Series([seed for _, seed in keys], dtype="int64")
    return pairs.assign(shared_start=~apart, point=points, seed=seeds)


def _by_prompt(ka: pd.DataFrame, arms: Mapping[str, pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """An arm's final models minus K-A's in the run's unit, a column per held-out prompt."""
    of_ka = prompt_rewards(ka)
    for name, arm in arms.items():
        difference = prompt_rewards(arm) - of_ka
        values = difference / unit_size(ka)[:, None]
        names = [f"{name}@{place}" for place in range(values.shape[1])]
        yield pd.DataFrame(values, columns=names)


def by_prompt(rows: pd.DataFrame, effect: str) -> Array | None:
    """Of rows of `pair_orderings`, an effect at every held-out prompt; shape [N, P], or None."""
    names = [name for name in rows if str(name).startswith(f"{effect}@")]
    return np.asarray(rows[names], dtype=float) if names else None


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
    points = frame["point"].tolist()
    place = {point: index for index, point in enumerate(dict.fromkeys(points))}
    place_R = np.array([place[point] for point in points], dtype=np.int64)
    order_R = np.lexsort((frame["seed"].to_numpy(), place_R))  # stable
    # sorted once and cut: picking every point's rows one by one takes ten times as long
    rows = frame.iloc[order_R]
    # names as plain objects: Arrow's strings are made anew at every `rows[name]`, in every group
    rows.columns = rows.columns.astype(object)
    ends = np.searchsorted(place_R[order_R], np.arange(len(place) + 1))
    return {point: rows.iloc[ends[i] : ends[i + 1]] for point, i in place.items()}


def planned_points(
    design: Design, pairs: pd.DataFrame
) -> dict[GridPoint, tuple[str, pd.DataFrame]]:
    """State and planned pairs of every grid point, in the design's order."""
    groups = by_point(pairs)
    result = {}
    for point in design.points:
        rows = groups.get(point, pairs.iloc[:0])
        wanted = set(design.seeds.get((point, KD_THEN_ALIGN), ()))
        if not wanted.issuperset(rows["seed"].tolist()):
            rows = rows[rows["seed"].isin(list(wanted))]
        result[point] = (grid_state(design, point, rows), rows)
    return result


def point_severity(design: Design, point: GridPoint, rows: pd.DataFrame) -> tuple[str, Array]:
    """`complete` or what severity lacks at a grid point, and its value per seed.

    Args:
        design: What was planned.
        point: A grid point whose order effect is complete.
        rows: Its planned rows of `pair_orderings`.
    """
    if severity_source(design) == ESTIMATED:
        values_N = rows["severity_estimate"].to_numpy(dtype=float)
        lacks = "the optima are not known"
    else:
        planned = [set(design.seeds.get((point, name), ())) for name in
                   (ANCHORED_TO_P_PRIME, KD_THEN_ALIGN)]  # fmt: skip
        if planned[0] != planned[1]:
            return "unbalanced: K-A@p' was planned with different seeds", np.empty(0)
        values_N = rows["severity"].to_numpy(dtype=float)
        lacks = "K-A@p' is missing"
    unknown = int((~np.isfinite(values_N)).sum())
    return f"{lacks} in {unknown} of {len(rows)} pairs" if unknown else COMPLETE, values_N


MEANS: Mapping[str, Callable[[pd.DataFrame], Any]] = {
    "order_effect": lambda p: p["order_effect"],
    "target_precision_difference": lambda p: p["target_precision_ak"] - p["target_precision_ka"],
    "recall_difference": lambda p: p["recall_ak"] - p["recall_ka"],
    "attainment_ka": lambda p: p["attainment_ka"],
    "attainment_ak": lambda p: p["attainment_ak"],
}
"""Columns of the order effect's table that are means over pairs; differences are A-K minus K-A."""
ESTIMATES = (*MEANS, "severity", TRAP_RATE, "instability_ratio")


def order_effect_table(
    pairs: pd.DataFrame,
    design: Design,
    generator: np.random.Generator,
    margin: float | None = None,
) -> pd.DataFrame:
    """One row per grid point (all axes except the ordering), in the design's order.

    Args:
        pairs: Rows of `pair_orderings`.
        design: What was planned.
        generator: Source of the sign flips.
        margin: Where the reward has no supremum, so that no seed attains half of anything: the
            margin that stands for it.

    Returns:
        The axes; `point`; `state` (`complete` or the reason for having no numbers); `pairs` and
        `planned_pairs`; for every estimate X of `ESTIMATES`: X, `X_low`, `X_high` (means by
        Student's t); `severity_from` (`K-A@p'` or `ESTIMATED`) and `severity_state`;
        `trap_rate_against` (the ordering that K-A's seeds are held against) and `trap_gap` (how
        far apart the two are in the mean over trapped seeds, NaN without any); and `p_value`, of
        paired sign flips of the order effect. With a `margin` there is no `trap_rate` but
        `beyond_margin_rate`, and `trap_gap` is over the seeds that it counts.
    """
    states = planned_points(design, pairs)
    source = severity_source(design)
    against = ANCHORED_TO_P_PRIME if source == ANCHORED_TO_P_PRIME else ALIGN_THEN_KD
    records = []
    for point, (state, rows) in states.items():
        record: dict[str, Any] = dict(zip(design.axes, point, strict=True))
        record["point"], record["state"], record["pairs"] = point, state, len(rows)
        record["planned_pairs"] = len(design.seeds.get((point, KD_THEN_ALIGN), ()))
        severity_state, severity_N = (
            point_severity(design, point, rows) if state == COMPLETE else (state, np.empty(0))
        )
        estimates = _estimates(rows, source, margin) if state == COMPLETE else {}
        if severity_state == COMPLETE:
            estimates["severity"] = student_interval(severity_N)
        names = ESTIMATES
        if margin is not None:
            names = tuple(BEYOND_MARGIN if name == TRAP_RATE else name for name in ESTIMATES)
        record |= spread(estimates, names)
        record |= {"severity_from": source, "severity_state": severity_state}
        record["trap_rate_against"] = against
        record["trap_gap"] = _trap_gap(rows, source, margin) if state == COMPLETE else np.nan
        records.append(record)
    table = pd.DataFrame.from_records(
        records, columns=list(records[0]) if records else [*design.axes, "point", "state"]
    )
    complete = {point: rows for point, (state, rows) in states.items() if state == COMPLETE}
    return table.assign(p_value=_sign_flip_p(table, complete, generator))


def spread(estimates: Mapping[str, Estimate], names: Sequence[str]) -> dict[str, float]:
    """Columns X, X_low, X_high for every name; NaN where there is no estimate."""
    record = {}
    for name in names:
        found = estimates.get(name)
        record[name] = found.value if found else np.nan
        record[f"{name}_low"] = found.low if found else np.nan
        record[f"{name}_high"] = found.high if found else np.nan
    return record


def _estimates(rows: pd.DataFrame, source: str, margin: float | None) -> dict[str, Estimate]:
    """A complete grid point's estimates but severity; none of a series with a value unknown."""
    found = {}
    for name, mean in MEANS.items():
        values_N = np.asarray(mean(rows), dtype=float)
        if np.isfinite(values_N).all():
            found[name] = student_interval(values_N)
    ka_N, other_N = _held_against(rows, source)
    if np.isfinite(other_N).all():
        name = TRAP_RATE if margin is None else BEYOND_MARGIN
        found[name] = share_interval(int(_caught(ka_N, other_N, margin).sum()), len(rows))
    with suppress(ValueError):  # under three seeds, or an arm that doesn't vary: no ratio
        found["instability_ratio"] = instability_ratio(rows["reward_ka"], rows["reward_ak"])
    return found


def _held_against(rows: pd.DataFrame, source: str) -> tuple[Array, Array]:
    """Levels of K-A, and of the ordering that tells whether a seed of it is trapped; [N]."""
    other = "attainment_anchored" if source == ANCHORED_TO_P_PRIME else "attainment_ak"
    return rows["attainment_ka"].to_numpy(dtype=float), rows[other].to_numpy(dtype=float)


def _caught(ka_N: Array, other_N: Array, margin: float | None) -> Array:
    """The seeds that the trap rate counts, or what stands for it without a supremum."""
    return trapped(ka_N, other_N) if margin is None else beyond_margin(ka_N, other_N, margin)


def _trap_gap(rows: pd.DataFrame, source: str, margin: float | None) -> float:
    """Mean difference over trapped seeds: two models on either side of one half may be close."""
    ka_N, other_N = _held_against(rows, source)
    is_N = _caught(ka_N, other_N, margin)
    return float((other_N - ka_N)[is_N].mean()) if is_N.any() else np.nan


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


def _sign_flip_p(
    table: pd.DataFrame, complete: Mapping[GridPoint, pd.DataFrame], generator: np.random.Generator
) -> Array:
    p_values: dict[GridPoint, float] = {}
    for size in sorted({len(rows) for rows in complete.values() if len(rows) > 1}):
        points = [point for point, rows in complete.items() if len(rows) == size]
        series = np.stack(
            [complete[p]["order_effect"].to_numpy(dtype=float) for p in points], axis=1
        )
        p_values |= dict(zip(points, sign_flip_p_values(series, generator), strict=True))
    found = table["point"].tolist() if len(table) else []
    return np.array([p_values.get(point, np.nan) for point in found], dtype=float)
