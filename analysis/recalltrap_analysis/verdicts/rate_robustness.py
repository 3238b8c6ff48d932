"""Contrasts at other learning rates, and whether what is said of them changes with the rate.

One learning rate serves models of two sizes, so an ordering may lead by tuning alone. Where factors
of it are axes of the study, each one is moved by itself, the others as set; and every ordering is
taken at the factors that suit it best. Differences are paired by seed, in the run's unit of reward.
Shapes: N seeds, F combinations of factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recalltrap_analysis.estimates.attainment import cell_attainments
from recalltrap_analysis.estimates.contrasts import Contrast, contrast_name
from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.number_format import count_text, setting_text
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.statistics.margin import margin_words
from recalltrap_analysis.statistics.paired import STUDENT, Array, Estimate
from recalltrap_analysis.statistics.student import (
    ONE_SIDED,
    one_sided_bounds,
    student_interval,
)

AS_SET = "as set"
OWN_BEST = "each at its own best"


@dataclass(frozen=True)
class Arm:
    """One ordering at every combination of factors, the rest of the grid point fixed."""

    ordering: str
    attainment_NF: Array
    moved_by: frozenset[str]
    """The factors that change any of its models."""


def rate_axes(design: Design, factors: Sequence[str]) -> tuple[str, ...]:
    """The factors of learning rates that are axes of the study."""
    return tuple(axis for axis in design.axes if axis in factors)


def rate_table(
    outcomes: pd.DataFrame,
    design: Design,
    factors: Sequence[str],
    contrasts: Sequence[Contrast],
) -> pd.DataFrame:
    """Every contrast at every value of each factor, and with each ordering at its own best.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        design: What was planned.
        factors: Settings that multiply a learning rate.
        contrasts: The orderings to compare.

    Returns:
        The other axes, `contrast`, `case`: `AS_SET` (every factor at the tried value nearest to
        1), a factor with its value (the others as set) or `OWN_BEST`; `value` with `low` and `high`
        (95 %), `method`, `n`, `state` (`complete`, or why there are no numbers) and `chosen`: the
        factors that each ordering has at its best. A factor that moves neither ordering has no row.
        No rows where no factor is an axis.
    """
    rates = rate_axes(design, factors)
    others = tuple(axis for axis in design.axes if axis not in rates)
    names = [*others, "contrast", "case", "value", "low", "high", "method", "n", "state", "chosen"]
    if not rates:
        return pd.DataFrame(columns=names)
    found = cell_attainments(outcomes, design)
    columns = (found["point"], found["ordering"], found["seed"].astype(int))
    attained = dict(zip(zip(*columns, strict=True), found["attainment"], strict=True))
    rows = []
    for stratum, points in _strata(design, rates).items():
        setting = dict(zip(others, stratum, strict=True))
        for contrast in contrasts:
            for row in _contrast_rows(attained, design, rates, points, contrast):
                rows.append(setting | {"contrast": contrast_name(contrast)} | row)
    return pd.DataFrame.from_records(rows, columns=names)


def _strata(
    design: Design, rates: Sequence[str]
) -> dict[GridPoint, dict[tuple[float, ...], GridPoint]]:
    """By the values of all other axes: the grid points by their factors."""
    at = [design.axes.index(axis) for axis in rates]
    strata: dict[GridPoint, dict[tuple[float, ...], GridPoint]] = {}
    for point in design.points:
        rest = tuple(value for i, value in enumerate(point) if i not in at)
        strata.setdefault(rest, {})[tuple(point[i] for i in at)] = point
    return strata


def _contrast_rows(
    attained: Mapping[tuple[Any, ...], float],
    design: Design,
    rates: Sequence[str],
    points: Mapping[tuple[float, ...], GridPoint],
    contrast: Contrast,
) -> Iterator[dict[str, Any]]:
    combinations = list(points)
    planned = {design.seeds.get((p, name), ()) for p in points.values() for name in contrast}
    if len(planned) > 1:
        state = "unbalanced: the orderings were planned with different seeds"
        yield _row(AS_SET, np.zeros(0), state)
        return
    [seeds] = planned
    arms = []
    for name in contrast:
        values_NF = np.array(
            [[attained.get((p, name, s), np.nan) for p in points.values()] for s in seeds]
        ).reshape(len(seeds), len(points))
        arms.append(Arm(name, values_NF, _moved_by(values_NF, combinations, rates)))
    difference_NF = arms[0].attainment_NF - arms[1].attainment_NF
    as_set = _nearest_to_one(combinations)
    for case, combination in _cases(
        combinations, as_set, rates, arms[0].moved_by | arms[1].moved_by
    ):
        place = combinations.index(combination)
        yield _row(case, difference_NF[:, place], _lacking(difference_NF[:, [place]]))
    yield _own_best(arms, combinations, rates)


def _moved_by(
    values_NF: Array, combinations: Sequence[tuple[float, ...]], rates: Sequence[str]
) -> frozenset[str]:
    """The factors along which any seed's value changes; an artifact is the same or it isn't."""
    moved = set()
    for i, rate in enumerate(rates):
        groups: dict[tuple[float, ...], list[int]] = {}
        for place, combination in enumerate(combinations):
            groups.setdefault(combination[:i] + combination[i + 1 :], []).append(place)
        for places in groups.values():
            group_NV = values_NF[:, places]
            if not np.array_equal(group_NV, np.repeat(group_NV[:, :1], len(places), 1), True):
                moved.add(rate)
    return frozenset(moved)


def _nearest_to_one(combinations: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return min(combinations, key=lambda factors: sum(abs(math.log(f)) for f in factors))


def _cases(
    combinations: Sequence[tuple[float, ...]],
    as_set: tuple[float, ...],
    rates: Sequence[str],
    moved_by: frozenset[str],
) -> Iterator[tuple[str, tuple[float, ...]]]:
    """As set, then every combination that differs from it in one factor alone."""
    yield AS_SET, as_set
    for i, rate in enumerate(rates):
        for combination in combinations if rate in moved_by else ():
            differs = [j for j, value in enumerate(combination) if value != as_set[j]]
            if differs == [i]:
                yield f"{rate} {setting_text(combination[i])}", combination


def _own_best(
    arms: Sequence[Arm], combinations: Sequence[tuple[float, ...]], rates: Sequence[str]
) -> dict[str, Any]:
    """Each seed of an ordering at the factors that are best over its other seeds.

    So no seed chooses what it is judged by, and choosing among noise gains nothing.
    """
    lacks = _lacking(np.concatenate([arm.attainment_NF for arm in arms], axis=1))
    if not lacks and len(arms[0].attainment_NF) < 2:
        lacks = "one seed: none to choose the rate by"
    if lacks:
        return _row(OWN_BEST, np.zeros(0), lacks)
    first_N, second_N = (best_by_others(arm.attainment_NF) for arm in arms)
    chosen = "; ".join(_chosen(arm, combinations, rates) for arm in arms)
    return _row(OWN_BEST, first_N - second_N, "") | {"chosen": chosen}


def best_by_others(attainment_NF: Array) -> Array:
    """Each seed's value in the column whose mean over all other seeds is largest; shape [N].

    Raises:
        ValueError: fewer than two seeds, or a value that is not finite.
    """
    seeds = len(attainment_NF)
    if seeds < 2 or not np.isfinite(attainment_NF).all():
        raise ValueError("choosing by the other seeds needs two seeds or more, all finite")
    others_NF = (attainment_NF.sum(axis=0) - attainment_NF) / (seeds - 1)
    best_N: npt.NDArray[np.int64] = others_NF.argmax(axis=1)
    return np.asarray(attainment_NF[np.arange(seeds), best_N], dtype=float)


def _chosen(arm: Arm, combinations: Sequence[tuple[float, ...]], rates: Sequence[str]) -> str:
    """The factors that are best over all seeds, of those that move the ordering."""
    best = combinations[int(arm.attainment_NF.mean(axis=0).argmax())]
    named = [
        f"{rate} {setting_text(value)}"
        for rate, value in zip(rates, best, strict=True)
        if rate in arm.moved_by
    ]
    return f"{arm.ordering} at {' and '.join(named) or 'any'}"


def _lacking(values_NF: Array) -> str:
    seeds, known = len(values_NF), int(np.isfinite(values_NF).all(axis=1).sum())
    if seeds and known == seeds:
        return ""
    return f"incomplete: {seeds - known} of {seeds} seeds have no value"


def _row(case: str, values_N: Array, lacks: str) -> dict[str, Any]:
    row: dict[str, Any] = {"case": case, "state": lacks or COMPLETE, "chosen": ""}
    if lacks:
        numbers = dict.fromkeys(("value", "low", "high"), np.nan)
        return row | numbers | {"method": "", "n": 0}
    found = student_interval(values_N)
    return row | {"value": found.value, "low": found.low, "high": found.high,
                  "method": found.method, "n": found.n}  # fmt: skip


def rate_words(table: pd.DataFrame, margin: float, level: float = ONE_SIDED) -> pd.DataFrame:
    """A table of `rate_table` with the words of every row on the margin, each row by itself.

    `level` is that of each bound: lower than 5 % where the run is judged more than once.

    Returns:
        Its columns, `lower` and `upper` (one-sided bounds), `words` (empty where there are no
        numbers), and `changed`: whether they differ from those of the same contrast and grid point
        as set; False where either has none.
    """
    bounds = [_bounds(row, level) for row in table.to_dict("records")]
    found = table.assign(
        lower=[low for low, _ in bounds],
        upper=[high for _, high in bounds],
        words=[
            margin_words(low, high, n, margin) if state == COMPLETE else ""
            for (low, high), n, state in zip(bounds, table["n"], table["state"], strict=True)
        ],
    )
    as_set = found["words"].where(found["case"] == AS_SET).ffill()  # the first row of its contrast
    known = (found["words"] != "") & (as_set != "")
    return found.assign(changed=known & (found["words"] != as_set))


def _bounds(row: dict[Any, Any], level: float) -> tuple[float, float]:
    if row["state"] != COMPLETE:
        return np.nan, np.nan
    estimate = Estimate(row["value"], row["low"], row["high"], STUDENT, int(row["n"]))
    return one_sided_bounds(estimate, level)


def rate_sentence(table: pd.DataFrame) -> str:
    """What a table of `rate_words` comes to: how many rows say something else than as set."""
    known = table[table["words"] != ""]
    moved = known[~known["case"].isin([AS_SET, OWN_BEST])]
    best = known[known["case"] == OWN_BEST]
    parts = [
        _share(moved, "with one size's learning rate changed"),
        _share(best, "with each ordering at its own best rate"),
    ]
    said = "; ".join(part for part in parts if part)
    return f"Words that change against the rates as set: {said}." if said else ""


def _share(rows: pd.DataFrame, when: str) -> str:
    if rows.empty:
        return ""
    return f"{int(rows['changed'].sum())} of {count_text(len(rows), 'comparison')} {when}"
