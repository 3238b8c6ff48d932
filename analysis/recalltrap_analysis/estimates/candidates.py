"""What speaks for each ordering in one stratum: what a decision on the ordering is made from.

A stratum is one value of every axis but the KL weight. Values are per seed and nothing is
concluded here. What can't be compared carries its reason. Shapes: N seeds, W KL weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recalltrap.graph import Cell
from recalltrap.orderings import DISTILL, Ordering, aligns
from recalltrap_analysis.estimates.attainment import NO_UNIT, reward_unit
from recalltrap_analysis.estimates.contrasts import (
    BEST_GRID_POINT,
    EQUAL_RECALL,
    READINGS,
    reading_by_prompt,
    readings_against,
    unpaired,
)
from recalltrap_analysis.estimates.costs import known_costs
from recalltrap_analysis.estimates.equal_cost import cell_costs
from recalltrap_analysis.estimates.order_effect import COMPLETE, KD_THEN_ALIGN
from recalltrap_analysis.estimates.reward_recall import (
    AtEqualRecall,
    Curve,
    best_within,
    other_axes,
    prompts_at,
    reward_recall_curves,
)
from recalltrap_analysis.runs.design import Design, GridPoint, hashable
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.statistics.paired import Array

COST_MEASURES = ("flops", "device_seconds")
Spending = Mapping[tuple[str, GridPoint, str, int], float]
"""What a cell spends after p', by measure, grid point, ordering and seed."""


@dataclass(frozen=True)
class Candidate:
    """One ordering that ends with a compact aligned model.

    Of each seed [N] the best point within the recall budget: `best_N` in the run's unit, `recall_N`
    and `place_N` among `weights` (NaN and -1 where no point keeps it), and the recall of p'.
    `flops` and `device_seconds` are spent after p', means over seeds at the ordering's own KL
    weight; NaN where they aren't known. Where `state` isn't `complete` it says why, and no array
    holds a number.
    """

    ordering: str
    state: str
    seeds: tuple[int, ...]
    weights: tuple[Any, ...]
    best_N: Array
    recall_N: Array
    place_N: npt.NDArray[np.int64]
    recall_p_prime_N: Array
    flops: float = np.nan
    device_seconds: float = np.nan

    @property
    def keeps_N(self) -> npt.NDArray[np.bool_]:
        """Whether any point of a seed keeps the budget."""
        return self.place_N >= 0

    @property
    def kl_weight(self) -> Any:
        """The median of its own KL weights, the upper of two; None without any."""
        chosen = [self.weights[int(place)] for place in self.place_N[self.keeps_N]]
        return None if None in chosen or not chosen else sorted(chosen)[len(chosen) // 2]


@dataclass(frozen=True)
class Pair:
    """Differences of two candidates, the first minus the second, seed by seed [N]; NaN where none.

    `within_N` and `recall_N`: reward and recall of the best points within the budget.
    `equal_recall_N` (interpolated) and `best_grid_N` (best point with no worse recall): means over
    the first's points that have a comparison. `equal_weight_N`: mean over the KL weights.
    `dominated_W`: share of seeds in which some point of the second beats the first's point at a
    KL weight in reward and in recall.
    """

    first: str
    second: str
    state: str
    within_N: Array
    recall_N: Array
    equal_recall_N: Array
    best_grid_N: Array
    equal_weight_N: Array
    dominated_W: Array
    by_prompt: Mapping[str, Array] = field(default_factory=dict)
    """The same differences at every held-out prompt by their names, shape [N, P]; NaN where the
    seed has none. Empty where the prompts' rewards aren't known."""


@dataclass(frozen=True)
class StratumEvidence:
    """All candidates of a stratum, K-A first, and all their pairs, K-A second.

    `stratum` has the value of every axis but the KL weight; `unit` is that of rewards (empty:
    none) and `recall_unit` that of recall. `lacks` names what keeps anything from being compared.
    """

    stratum: Mapping[str, Any]
    weights: tuple[Any, ...]
    recall_budget: float
    unit: str
    recall_unit: str
    candidates: tuple[Candidate, ...]
    pairs: tuple[Pair, ...]
    lacks: tuple[str, ...] = ()
    planned: tuple[str, ...] = field(default=())
    """All orderings of the study."""


def ends_compact(ordering: Ordering) -> bool:
    """Whether an ordering aligns and ends with a student: one once distilled stays compact."""
    return aligns(ordering) and DISTILL in ordering.steps


def evidence_by_stratum(
    outcomes: pd.DataFrame,
    design: Design,
    cells: Sequence[Cell],
    costs: pd.DataFrame,
    kind: KindRecord,
    recall_budget: float,
    recall_unit: str,
) -> list[StratumEvidence]:
    """The evidence of every stratum, in the design's order.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        design: What was planned.
        cells: The planned cells.
        costs: The `costs` table; empty where nothing was recorded.
        kind: What the analysis knows of the study's kind.
        recall_budget: Nats below the recall of p' that a model may lose, seed by seed.
        recall_unit: The unit of overall recall.
    """
    orderings = {cell.ordering.name: cell.ordering for cell in cells}
    names = [name for name in design.orderings if ends_compact(orderings[name])]
    names.sort(key=lambda name: name != KD_THEN_ALIGN)
    curves = reward_recall_curves(outcomes, design, kind.kl_weight)
    wanted = [cell for cell in cells if cell.ordering.name in names]
    spending = spent_after_p_prime(costs, wanted, design.axes, kind)
    unit = reward_unit(outcomes)
    axes = other_axes(design, kind.kl_weight)
    found = []
    for stratum in dict.fromkeys(stratum for stratum, _ in curves):
        arms = [curves[stratum, name] for name in names if (stratum, name) in curves]
        found.append(
            stratum_evidence(
                arms, dict(zip(axes, stratum, strict=True)), recall_budget,
                unit=unit, recall_unit=recall_unit, spending=spending, planned=design.orderings,
            )
        )  # fmt: skip
    return found


def stratum_evidence(
    arms: Sequence[Curve],
    stratum: Mapping[str, Any],
    recall_budget: float,
    *,
    unit: str,
    recall_unit: str = "nats",
    spending: Spending | None = None,
    planned: Sequence[str] = (),
) -> StratumEvidence:
    """The evidence of one stratum from its candidates' curves, K-A first.

    Args:
        arms: The curves.
        stratum: The value of every axis but the KL weight.
        recall_budget: Nats below the recall of p' that a model may lose, seed by seed.
        unit: Of rewards.
        recall_unit: Of recall.
        spending: What the cells spend after p'.
        planned: All orderings of the study.
    """
    lacks = []
    if arms and unit == NO_UNIT:
        lacks.append("rewards have no unit: no supremum is known and no reward_sd of p'")
    if arms and not any(np.isfinite(arm.recall).any() for arm in arms):
        lacks.append("no overall recall was measured, so what a lead costs can't be told")
    spent = {} if spending is None else spending
    candidates = tuple(_candidate(arm, recall_budget, spent) for arm in arms)
    pairs = [
        _pair(arms[later], arms[sooner], candidates[later], candidates[sooner])
        for sooner in range(len(arms))
        for later in range(sooner + 1, len(arms))
    ]
    weights = dict.fromkeys(weight for arm in arms for weight in arm.weights)
    return StratumEvidence(
        stratum, tuple(weights), recall_budget, unit, recall_unit, candidates, tuple(pairs),
        tuple(lacks), tuple(planned),
    )  # fmt: skip


def _candidate(arm: Curve, recall_budget: float, spending: Spending) -> Candidate:
    n = len(arm.seeds)
    state = _curve_state(arm)
    best_N, recall_N = np.full(n, np.nan), np.full(n, np.nan)
    place_N = np.full(n, -1)
    recall_p_prime_N = arm.recall_p_prime.mean(axis=1)
    if state == COMPLETE:
        best_N, place_N = best_within(arm.attainment, arm.recall, recall_p_prime_N - recall_budget)
        keeps_N = place_N >= 0
        recall_N = np.where(keeps_N, arm.recall[np.arange(n), place_N], np.nan)
    cost = {measure: _mean_cost(arm, place_N, measure, spending) for measure in COST_MEASURES}
    return Candidate(
        arm.ordering, state, tuple(arm.seeds), tuple(arm.weights), best_N, recall_N, place_N,
        recall_p_prime_N, **cost,
    )  # fmt: skip


def _curve_state(arm: Curve) -> str:
    known_NW = (
        np.isfinite(arm.attainment) & np.isfinite(arm.recall) & np.isfinite(arm.recall_p_prime)
    )
    if known_NW.all():
        return COMPLETE
    lacking = int((~known_NW.all(axis=1)).sum())
    return f"incomplete: {lacking} of {len(known_NW)} seeds lack a part of the curve"


def _mean_cost(
    arm: Curve, place_N: npt.NDArray[np.int64], measure: str, spending: Spending
) -> float:
    """Over seeds, at the seed's own KL weight; over all weights where no seed has one."""
    chosen = [
        (seed, int(place)) for seed, place in zip(arm.seeds, place_N, strict=True) if place >= 0
    ]
    if not chosen:
        chosen = [(seed, place) for seed in arm.seeds for place in range(len(arm.points))]
    amounts = [
        spending.get((measure, arm.points[place], arm.ordering, seed), np.nan)
        for seed, place in chosen
    ]
    return float(np.mean(amounts)) if amounts and min(amounts) > 0 else np.nan


def _pair(first: Curve, second: Curve, one: Candidate, two: Candidate) -> Pair:
    state = next((c.state for c in (one, two) if c.state != COMPLETE), COMPLETE)
    state = unpaired(first, second) or state
    if state != COMPLETE:
        none = np.full(len(first.seeds), np.nan)
        shares = np.full(len(first.points), np.nan)
        return Pair(one.ordering, two.ordering, state, none, none, none, none, none, shares)
    against = readings_against(first, second)
    curved = len(first.points) > 1  # a single point has no curve to read at another recall
    none = np.full(len(first.seeds), np.nan)
    return Pair(
        one.ordering,
        two.ordering,
        state,
        within_N=one.best_N - two.best_N,
        recall_N=one.recall_N - two.recall_N,
        equal_recall_N=known_mean(against.interpolated) if curved else none,
        best_grid_N=known_mean(against.grid) if curved else none,
        equal_weight_N=(first.attainment - second.attainment).mean(axis=1),
        dominated_W=against.dominated.mean(axis=0),
        by_prompt=_by_prompt(first, second, one, two, against),
    )


def _by_prompt(
    first: Curve, second: Curve, one: Candidate, two: Candidate, against: AtEqualRecall
) -> dict[str, Array]:
    """A pair's differences at every prompt, where their rewards are known."""
    if not first.by_prompt.shape[2]:
        return {}
    interpolated_NWP, grid_NWP = (
        reading_by_prompt(first, second, *READINGS[name](against))
        for name in (EQUAL_RECALL, BEST_GRID_POINT)
    )
    within_NP = prompts_at(first.by_prompt, one.place_N) - prompts_at(second.by_prompt, two.place_N)
    return {
        "within_N": within_NP,
        "equal_recall_N": known_mean(interpolated_NWP),
        "best_grid_N": known_mean(grid_NWP),
        "equal_weight_N": (first.by_prompt - second.by_prompt).mean(axis=1),
    }


def known_mean(values_NW: Array) -> Array:
    """Per seed the mean of what is there; NaN where nothing is; shape [N], or [N, P] of prompts."""
    known_NW = np.isfinite(values_NW)
    count_N = known_NW.sum(axis=1)
    total_N = np.where(known_NW, values_NW, 0.0).sum(axis=1)
    return np.asarray(np.where(count_N > 0, total_N / np.maximum(count_N, 1), np.nan))


def spent_after_p_prime(
    costs: pd.DataFrame, cells: Sequence[Cell], axes: Sequence[str], kind: KindRecord
) -> dict[tuple[str, GridPoint, str, int], float]:
    """FLOPs and device seconds that each cell spends after p'; cells of unknown cost are absent.

    Args:
        costs: The `costs` table; empty where nothing was recorded.
        cells: The cells.
        axes: The grid's axes.
        kind: For earlier versions' updates.
    """
    if costs.empty or not cells:
        return {}
    found = {}
    table = known_costs(costs)
    for measure in COST_MEASURES:
        amounts = cell_costs(table, cells, kind, measure)
        for cell in cells:
            if cell.id in amounts:
                point = tuple(hashable(cell.factors[axis]) for axis in axes)
                key = (measure, point, cell.ordering.name, cell.seed)
                found[key] = amounts[cell.id].amount
    return found
