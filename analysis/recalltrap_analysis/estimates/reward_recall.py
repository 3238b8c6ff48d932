"""Each ordering's curve of reward over recall, traced by its own KL weights, seed by seed.

What one seed's point is worth against another ordering's curve. Nothing is averaged over seeds
here. Shapes: N seeds, W KL weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recalltrap_analysis.estimates.attainment import in_unit
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.prompt_rewards import prompt_rewards
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.statistics.paired import Array

COLUMNS = {
    "reward": "final.reward",
    "attainment": "",  # from the others
    "target_precision": "final.target_precision",
    "recall": "final.overall_recall",
    "recall_p_prime": "p_prime.overall_recall",
    "attainment_p_prime_aligned": "",
    "start": "p_second.reward",
}


@dataclass(frozen=True)
class Curve:
    """One ordering in one stratum; arrays of shape [N, W] but one, NaN where a cell has no value.

    A stratum is one value of every axis but the KL weight. `points` are its grid points, one per
    weight, and `seeds` all that the ordering was planned with there. `attainment` is in the run's
    `reward_unit`.
    """

    ordering: str
    stratum: GridPoint
    weights: Sequence[Any]
    points: Sequence[GridPoint]
    seeds: Sequence[int]
    reward: Array
    attainment: Array
    target_precision: Array
    recall: Array
    recall_p_prime: Array
    attainment_p_prime_aligned: Array
    start: Array
    by_prompt: Array
    """`attainment` of every held-out prompt's responses; shape [N, W, P], P = 0 where unknown."""


def other_axes(design: Design, kl_weight: str | None) -> tuple[str, ...]:
    """The axes of a stratum."""
    return tuple(axis for axis in design.axes if axis != kl_weight)


def reward_recall_curves(
    outcomes: pd.DataFrame, design: Design, kl_weight: str | None
) -> dict[tuple[GridPoint, str], Curve]:
    """The curves by stratum and ordering, in the design's order.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        design: What was planned.
        kl_weight: The setting that weighs the KL penalty; where it is no axis, a curve is one
            point.
    """
    values = {name: column(outcomes, key).to_numpy() for name, key in COLUMNS.items() if key}
    aligned = column(outcomes, "p_prime_aligned.reward").to_numpy()
    values["attainment"] = in_unit(outcomes, values["reward"])
    values["attainment_p_prime_aligned"] = in_unit(outcomes, aligned)
    rewards_CP = prompt_rewards(outcomes)
    levels = [in_unit(outcomes, reward_C) for reward_C in rewards_CP.T]
    values["by_prompt"] = np.stack(levels, axis=1) if levels else rewards_CP
    keys = zip(
        point_keys(outcomes, design.axes), outcomes["ordering"], outcomes["seed"], strict=True
    )
    row_of = {(point, name, int(seed)): row for row, (point, name, seed) in enumerate(keys)}
    found = {}
    for stratum, points in _strata(design, kl_weight).items():
        for ordering in design.orderings:
            planned = [p for p in points if (p, ordering) in design.seeds]
            seeds = sorted({seed for p in planned for seed in design.seeds[p, ordering]})
            if not seeds:
                continue
            rows = np.array(
                [[row_of.get((p, ordering, seed), -1) for p in planned] for seed in seeds]
            )
            # The last row stands for every cell that there is none of.
            filled = {name: _placed(one, rows) for name, one in values.items()}
            weights = [_weight(p, design, kl_weight) for p in planned]
            found[stratum, ordering] = Curve(
                ordering, stratum, weights, planned, tuple(seeds), **filled
            )
    return found


def _placed(values: Array, rows: npt.NDArray[np.int64]) -> Array:
    """The values of these rows; NaN for a row that is past the last."""
    nothing = np.full((1, *values.shape[1:]), np.nan)
    return np.asarray(np.concatenate([values, nothing])[rows], dtype=float)


def _strata(design: Design, kl_weight: str | None) -> dict[GridPoint, list[GridPoint]]:
    kept = [i for i, axis in enumerate(design.axes) if axis != kl_weight]
    strata: dict[GridPoint, list[GridPoint]] = {}
    for point in design.points:
        strata.setdefault(tuple(point[i] for i in kept), []).append(point)
    return strata


def _weight(point: GridPoint, design: Design, kl_weight: str | None) -> Any:
    if kl_weight in design.axes:
        return point[design.axes.index(kl_weight)]
    return design.settings.get(point, {}).get(kl_weight or "")


@dataclass(frozen=True)
class AtEqualRecall:
    """Points of one ordering against another's curve, one seed; shape [W] each.

    `interpolated` and `grid` are differences of reward, NaN where the other has nothing to compare
    with; `dominated`: some point of the other is better in reward and in recall. What stands
    against each point are these shares of the other's V points, of shape [W, V].
    """

    interpolated: Array
    grid: Array
    dominated: npt.NDArray[np.bool_]
    interpolated_share: Array
    grid_share: Array


def at_equal_recall(
    reward_W: Array, recall_W: Array, other_reward_V: Array, other_recall_V: Array
) -> AtEqualRecall:
    """One seed's points against the other ordering's curve, read in two ways.

    The other's best reward at a recall is the largest among its points with no less recall, so it
    falls as recall rises. *Interpolated*: linearly between the other's points, inside the range of
    their recalls. *Grid*: the best of its points with no worse recall, so a coarse grid favours
    the points compared: it is never below the interpolated difference.

    Args:
        reward_W: Rewards of the points compared, or attainments.
        recall_W: Their overall recalls.
        other_reward_V: Rewards of the other ordering at its own KL weights.
        other_recall_V: Its recalls.
    """
    no_worse_WV = other_recall_V[None, :] >= recall_W[:, None]
    best_W = _best(other_reward_V, no_worse_WV)
    grid_W = np.where(no_worse_WV.any(axis=1), reward_W - other_reward_V[best_W], np.nan)
    knots = np.unique(other_recall_V)  # from the least recall to the most
    at_knot_M = _best(other_reward_V, other_recall_V >= knots[:, None])
    inside_W = (recall_W >= knots[0]) & (recall_W <= knots[-1])
    curve_W = np.interp(recall_W, knots, other_reward_V[at_knot_M])
    better_WV = (other_reward_V > reward_W[:, None]) & (other_recall_V > recall_W[:, None])
    points_VV = np.eye(len(other_reward_V))
    shares = [np.interp(recall_W, knots, of_point_M) for of_point_M in points_VV[at_knot_M].T]
    return AtEqualRecall(
        interpolated=np.where(inside_W, reward_W - curve_W, np.nan),
        grid=grid_W,
        dominated=np.asarray(better_WV.any(axis=1)),
        interpolated_share=np.stack(shares, axis=1),
        grid_share=points_VV[best_W],
    )


def _best(reward_V: Array, allowed_MV: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Places of the largest reward among those allowed; shape [M], 0 where none is."""
    return np.asarray(np.where(allowed_MV, reward_V, -np.inf).argmax(axis=1))


def prompts_at(by_prompt_NWP: Array, place_N: npt.NDArray[np.int64]) -> Array:
    """Each seed's prompts at its own place among the weights; shape [N, P], NaN at place -1."""
    chosen_NP = by_prompt_NWP[np.arange(len(place_N)), place_N]
    return np.asarray(np.where(place_N[:, None] >= 0, chosen_NP, np.nan))


def best_within(
    reward_NW: Array, recall_NW: Array, least_recall_N: Array
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Per seed the best reward among the points of enough recall, and its place among the weights.

    Returns:
        Rewards of shape [N], NaN in seeds without such a point, and places, -1 there.
    """
    allowed_NW = recall_NW >= least_recall_N[:, None]
    known_NW = np.where(allowed_NW, reward_NW, -np.inf)
    place_N = known_NW.argmax(axis=1)
    best_N = known_NW[np.arange(len(known_NW)), place_N]
    none_N = ~allowed_NW.any(axis=1)
    return np.where(none_N, np.nan, best_N), np.where(none_N, -1, place_N)
