"""The cells of several runs in one pool, addressed by setting, ordering and seed.

A setting is the value of every field of the kind's settings, so cells of different runs meet
exactly where they are the same experiment; a cell that two runs share counts once. Nothing is
averaged here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recalltrap.graph import Cell
from recalltrap_analysis.estimates.attainment import SD
from recalltrap_analysis.number_format import setting_text
from recalltrap_analysis.runs.design import hashable
from recalltrap_analysis.runs.kind_record import NO_RECORD, KindRecord
from recalltrap_analysis.runs.wide_tables import cell_outcomes, column
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.student import ONE_SIDED

NOT_SETTINGS = frozenset(
    ("cell_id", "ordering", "seed", "model", "metric", "value", "standard_error", "samples",
     "scorer")
)  # fmt: skip

ATTAINMENT = "attainment"
"""A model's reward from that of p'' (0) to its supremum (1); no row of the tables, but of three."""
IN_SDS = "reward_in_sds"
"""The reward in its standard deviations under p', seed by seed: where it has no supremum."""

Where = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Arm:
    """One column of a comparison: a model's metric in cells of an ordering (None: any)."""

    ordering: str | None
    model: str
    metric: str

    @property
    def column(self) -> str:
        return f"{self.model}.{self.metric}"


@dataclass(frozen=True)
class Series:
    """A comparison at one grid point: the arms' values over the same seeds.

    `values_AN` has shape [A arms, N seeds]; it is empty where `state` is not `complete`.
    `points` are the settings that it was read from. `level` is the one-sided level of every bound
    on it: 5 %, or less where its runs are judged at several numbers of seeds.
    """

    label: Mapping[str, Any]
    stratum: tuple[tuple[str, Any], ...]
    seeds: tuple[int, ...]
    values_AN: Array
    state: str
    points: frozenset[int]
    level: float = ONE_SIDED


@dataclass
class Pool:
    """All cells that some runs of one kind planned, and the values of those that succeeded."""

    kind: KindRecord = NO_RECORD
    points: list[dict[str, Any]] = field(default_factory=list)
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Wide outcomes by run, with the setting's number in `point`."""
    planned: dict[tuple[int, str], set[int]] = field(default_factory=dict)
    _numbers: dict[tuple[Any, ...], int] = field(default_factory=dict)
    _values: dict[str, dict[tuple[int, str, int], float]] = field(default_factory=dict)
    _known: dict[str, frozenset[int]] = field(default_factory=dict)
    _of_run: dict[str, frozenset[int]] = field(default_factory=dict)
    _levels: dict[str, float] = field(default_factory=dict)

    def add(
        self, run: str, metrics: pa.Table, cells: Sequence[Cell], looks: Sequence[int] = ()
    ) -> None:
        """Take in a run's `metrics` table, its planned cells, and when it was or will be judged."""
        names = [name for name in metrics.column_names if name not in NOT_SETTINGS]
        frame = cell_outcomes(metrics, names, self.kind.reward_supremum)
        measured = column(frame, SD)  # else from the reward's error, of independent samples
        frame[SD] = measured.fillna(frame["cell_id"].map(_reward_sds(metrics)))
        columns = [frame[name].tolist() for name in names]
        rows = zip(*columns, strict=True) if columns else [()] * len(frame)
        self.frames[run] = frame.assign(point=[self._number(names, values) for values in rows])
        found = set()
        for cell in cells:
            factors = cell.factors
            point = self._number(names, tuple(hashable(factors.get(name)) for name in names))
            self.planned.setdefault((point, cell.ordering.name), set()).add(cell.seed)
            found.add(point)
        self._of_run[run] = frozenset(found)
        self._levels[run] = nominal_level(looks)

    def _number(self, names: Sequence[str], values: tuple[Any, ...]) -> int:
        key = (tuple(names), values)
        if key not in self._numbers:
            self._numbers[key] = len(self.points)
            self.points.append(dict(zip(names, values, strict=True)))
        return self._numbers[key]

    def values(self, column: str) -> dict[tuple[int, str, int], float]:
        """A metric's value by setting, ordering and seed."""
        if column not in self._values and column.endswith((f".{ATTAINMENT}", f".{IN_SDS}")):
            self._values[column] = self._scaled_rewards(*column.rsplit(".", 1))
        if column not in self._values:
            found: dict[tuple[int, str, int], float] = {}
            for frame in self.frames.values():
                if column in frame.columns:
                    keys = zip(
                        frame["point"].tolist(), frame["ordering"].tolist(),
                        frame["seed"].tolist(), strict=True,
                    )  # fmt: skip
                    for key, value in zip(keys, frame[column].tolist(), strict=True):
                        found.setdefault(key, value)
            self._values[column] = found
        return self._values[column]

    def _scaled_rewards(self, model: str, unit: str) -> dict[tuple[int, str, int], float]:
        """A model's reward in a unit; whatever any ordering measured of p' and p'' counts."""
        reward = self.values(f"{model}.reward")
        start, supremum, sd = (
            {(point, seed): value for (point, _, seed), value in found.items() if value == value}
            for found in map(self.values, ("p_second.reward", "reward_supremum", SD))
        )
        scaled = {}
        for (point, ordering, seed), value in reward.items():
            zero, one = start.get((point, seed), np.nan), supremum.get((point, seed), np.nan)
            if unit == IN_SDS:
                zero, one = 0.0, sd.get((point, seed), np.nan)
            scaled[point, ordering, seed] = (value - zero) / (one - zero) if one > zero else np.nan
        return scaled

    def scaled(self, arm: Arm, point: int) -> Arm:
        """The arm, or where the reward has no attainment, the one of its standard deviations."""
        if arm.metric != ATTAINMENT or point in self._attained(arm.column):
            return arm
        in_sds = Arm(arm.ordering, arm.model, IN_SDS)
        return in_sds if point in self._attained(in_sds.column) else arm

    def _attained(self, column: str) -> frozenset[int]:
        """The settings of which any cell has a finite value."""
        if column not in self._known:
            found = self.values(column).items()
            self._known[column] = frozenset(p for (p, _, _), value in found if value == value)
        return self._known[column]

    def measured(self, arms: Iterable[Arm], points: Iterable[int]) -> tuple[Arm, ...]:
        """The arms whose rows the tables hold: of attainments, those that they are computed of."""
        found: dict[Arm, None] = {}
        points = list(points)
        for arm in arms:
            if arm.metric != ATTAINMENT:
                found[arm] = None
                continue
            sources = [(arm.model, "reward")]
            units = {self.scaled(arm, point).metric for point in points}
            if ATTAINMENT in units:
                models = ("p_second", "p_prime")
                sources += [("p_second", "reward"), *((m, "reward_supremum") for m in models)]
            if IN_SDS in units:
                sources.append(("p_prime", "reward"))
            found |= {Arm(arm.ordering, *source): None for source in sources}
        return tuple(found)

    def run_points(self, run: str) -> frozenset[int]:
        """Numbers of the settings that a run planned."""
        return self._of_run[run]

    def series(self, arms: Sequence[tuple[int, Arm]], swept: Sequence[str] | None = None) -> Series:
        """The arms' values over the seeds planned for all of them; each names its setting.

        Label and stratum are those of the first arm's setting: the label names the settings of
        `swept` (by default those of the kind), the stratum all others.
        """
        swept = self.kind.swept if swept is None else swept
        first = self.points[arms[0][0]]
        points = frozenset(point for point, _ in arms)
        plans = [self._planned(point, arm.ordering) for point, arm in arms]
        seeds, state = _common_seeds(plans)
        values_AN = np.empty((len(arms), 0))
        if state == "complete":
            values_AN = np.array(
                [[self._value(point, arm, seed) for seed in seeds] for point, arm in arms]
            )
            state = _finite_state(values_AN, [arm for _, arm in arms])
        label = {name: first[name] for name in swept if name in first}
        stratum = tuple((name, value) for name, value in first.items() if name not in swept)
        return Series(label, stratum, seeds, values_AN, state, points, self._level(points))

    def _level(self, points: frozenset[int]) -> float:
        """The strictest of the runs that hold any of the settings."""
        levels = [level for run, level in self._levels.items() if points & self._of_run[run]]
        return min(levels, default=ONE_SIDED)

    def by_stratum(self, found: Iterable[Series]) -> dict[str, list[Series]]:
        """Series by their stratum's label, which names the settings in which strata differ."""
        series, named = list(found), list(self.kind.named)
        strata = list(dict.fromkeys(one.stratum for one in series))
        names = list(dict.fromkeys(name for stratum in strata for name, _ in stratum))
        values = [dict(stratum) for stratum in strata]
        differ = [n for n in names if len({found.get(n) for found in values}) > 1]
        order = sorted(differ, key=lambda n: named.index(n) if n in named else len(named))
        labels = {
            stratum: ", ".join(f"{name} {setting_text(found.get(name))}" for name in order)
            for stratum, found in zip(strata, values, strict=True)
        }
        strata.sort(key=lambda stratum: [_sortable(dict(stratum).get(name)) for name in order])
        groups: dict[str, list[Series]] = {labels[stratum]: [] for stratum in strata}
        for one in series:
            groups[labels[one.stratum]].append(one)
        return groups

    def orderings(self, point: int) -> list[str]:
        """The orderings that were planned at a setting."""
        return [ordering for number, ordering in self.planned if number == point]

    def seeds_planned(self, point: int) -> int:
        """How many seeds were planned at a setting, whatever the ordering."""
        return len(self._planned(point, None))

    def _planned(self, point: int, ordering: str | None) -> set[int]:
        if ordering is not None:
            return self.planned.get((point, ordering), set())
        return set().union(*(self.planned[point, name] for name in self.orderings(point)))

    def _value(self, point: int, arm: Arm, seed: int) -> float:
        values = self.values(arm.column)
        names = [arm.ordering] if arm.ordering is not None else self.orderings(point)
        found = (values.get((point, name, seed), np.nan) for name in names)
        return next((value for value in found if np.isfinite(value)), np.nan)


def _reward_sds(metrics: pa.Table) -> dict[str, float]:
    """The reward's standard deviation under p', by cell, where its error and samples stand."""
    if not {"standard_error", "samples"} <= set(metrics.column_names):
        return {}
    chosen = (pc.field("model") == "p_prime") & (pc.field("metric") == "reward")
    rows = metrics.filter(chosen)
    columns = (rows[name].to_pylist() for name in ("cell_id", "standard_error", "samples"))
    return {
        cell: error * samples**0.5
        for cell, error, samples in zip(*columns, strict=True)
        if error is not None and samples is not None
    }


def _finite_state(values_AN: Array, arms: Sequence[Arm]) -> str:
    """`complete`, or how many seeds lack a finite value, and of which arms."""
    bad_AN = ~np.isfinite(values_AN)
    if not bad_AN.any():
        return "complete"
    lacking = [arm for arm, bad_N in zip(arms, list(bad_AN), strict=True) if bad_N.any()]
    names = dict.fromkeys(f"{arm.metric} of {arm.model}" for arm in lacking)
    seeds = f"{int(bad_AN.any(axis=0).sum())} of {values_AN.shape[1]} seeds"
    return f"incomplete: {seeds} lack a finite value of {', '.join(names)}"


def _common_seeds(plans: Sequence[set[int]]) -> tuple[tuple[int, ...], str]:
    if not all(plans):
        return (), "not planned"
    if any(design != plans[0] for design in plans):
        return (), "unbalanced: planned with different seeds"
    return tuple(sorted(plans[0])), "complete"


def _sortable(value: Any) -> tuple[int, float, str]:
    number = isinstance(value, int | float)
    return (0, float(value), "") if number else (1, 0.0, setting_text(value))
