"""The unit that rewards are compared in: the scale of everything after it.

Attainment where the reward has a supremum, else standard deviations of the reward under p', seed
by seed: fixed by p' alone, so that extending a study never changes a value. Differences don't know
where a scale's zero lies; levels do: 0 is p'' in attainment, and p' in standard deviations.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.runs.sql import RewardUnit
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.statistics.margin import MARGIN, MARGIN_IN_SDS
from recalltrap_analysis.statistics.paired import Array

ATTAINMENT = "attainment"
IN_SDS = "sd of the reward under p'"
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
    """Every cell's level in the run's unit: attainment, or (R - R(p')) / sd.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        reward: One reward per row; shape [cells].

    Returns:
        Shape [cells]. NaN where a cell lacks what its unit is made of.
    """
    zero = "p_second.reward" if reward_unit(outcomes) == ATTAINMENT else "p_prime.reward"
    return np.asarray(
        (reward - column(outcomes, zero).to_numpy()) / unit_size(outcomes), dtype=float
    )


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
    return MARGIN if unit in (ATTAINMENT, NO_UNIT) else MARGIN_IN_SDS


def unit_in_sql(kind: KindRecord, unit: str) -> RewardUnit:
    """A run's unit as its queries have it."""
    return RewardUnit(kind.reward_supremum, unit == IN_SDS)


def level_column(unit: str) -> str:
    """What a column of levels is called, for machines: `attainment`, or `reward_in_sds`."""
    return ATTAINMENT if unit == ATTAINMENT else "reward_in_sds"


def named_levels(table: pd.DataFrame, unit: str) -> pd.DataFrame:
    """A table for machines, whose columns `attainment…` are called after what they hold."""
    name = level_column(unit)
    return table.rename(columns=lambda column: str(column).replace(ATTAINMENT, name, 1))


def level_title(unit: str) -> str:
    """What a model's level is called, for people: ``attainment``, or ``reward``."""
    return ATTAINMENT if unit == ATTAINMENT else "reward"


def axis_title(unit: str) -> str:
    """A level with its unit, as an axis has it."""
    if unit == ATTAINMENT:
        return ATTAINMENT
    return "reward − that of p', sd" if unit else "reward, in no unit"


def unit_phrase(unit: str) -> str:
    """How a difference is measured, after a noun: ``in attainment``, ``in sd of …``."""
    return f"in {unit}" if unit else "in no unit"


def of_unit(unit: str) -> str:
    """The same as an attribute: ``of attainment``, ``of reward, in sd of …,``."""
    return f"of {ATTAINMENT}" if unit == ATTAINMENT else f"of reward, {unit_phrase(unit)},"


def with_unit(title: str, unit: str) -> str:
    """A column's title; where its numbers are no attainments, with their unit in short."""
    return title if unit in (ATTAINMENT, NO_UNIT) else f"{title}, sd"
