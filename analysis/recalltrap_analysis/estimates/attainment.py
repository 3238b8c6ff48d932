"""The unit that rewards are compared in: the scale of everything after it.

Attainment where the reward has a supremum, else standard deviations of the reward under p', seed
by seed: fixed by p' alone, so that extending a study never changes a value.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.statistics.margin import MARGIN, MARGIN_IN_SDS
from recalltrap_analysis.statistics.paired import Array

ATTAINMENT = "attainment"
IN_SDS = "sd of p''s reward"
NO_UNIT = ""
SD = "p_prime.reward_sd"


def attainment(reward: Array, reward_start: Array, reward_supremum: Array) -> Array:
    """a = (R - R0) / (R_max - R0): 0 is p'' before alignment, 1 the reward's supremum.

    All three have one shape; R0 is the reward of p''. NaN where p'' is at the supremum already.
    """
    room = np.asarray(reward_supremum, dtype=float) - reward_start
    room = np.where(room > 0, room, np.nan)
    return np.asarray((reward - reward_start) / room, dtype=float)


def reward_unit(outcomes: pd.DataFrame) -> str:
    """The one unit of a run's rewards.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.

    Returns:
        `ATTAINMENT` where any cell knows the reward's supremum; `IN_SDS` where none does and the
        metric `reward_sd` of p' was measured; `NO_UNIT` where there is neither.
    """
    if column(outcomes, "reward_supremum").notna().any():
        return ATTAINMENT
    return IN_SDS if (column(outcomes, SD) > 0).any() else NO_UNIT


def unit_size(outcomes: pd.DataFrame) -> Array:
    """What the run's unit is in reward, for every cell: R_max - R0, or the sd; shape [cells].

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.

    Returns:
        NaN where a cell lacks what its unit is made of, or p'' is at the supremum already.
    """
    unit = reward_unit(outcomes)
    if unit == NO_UNIT:
        return np.full(len(outcomes), np.nan)
    size = column(outcomes, SD)
    if unit == ATTAINMENT:
        size = column(outcomes, "reward_supremum") - column(outcomes, "p_second.reward")
    return np.where(size > 0, size, np.nan)


def in_unit(outcomes: pd.DataFrame, reward: Array) -> Array:
    """Every cell's gain over its p'' in the run's unit: attainment, or (R - R0) / sd.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        reward: One reward per row; shape [cells].

    Returns:
        Shape [cells]. NaN where a cell lacks what its unit is made of.
    """
    start = column(outcomes, "p_second.reward").to_numpy()
    return np.asarray((reward - start) / unit_size(outcomes), dtype=float)


def cell_attainments(outcomes: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Every cell's final model in the run's unit: `point`, `ordering`, `seed`, `attainment`."""
    return pd.DataFrame(
        {
            "point": pd.Series(point_keys(outcomes, design.axes), dtype=object),
            "ordering": outcomes["ordering"].to_numpy(),
            "seed": outcomes["seed"].to_numpy(),
            "attainment": in_unit(outcomes, column(outcomes, "final.reward").to_numpy()),
        }
    )


def usual_margin(unit: str) -> float:
    """The margin of a study that names none, in the unit of its rewards."""
    return MARGIN_IN_SDS if unit == IN_SDS else MARGIN
