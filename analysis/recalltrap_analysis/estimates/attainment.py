"""The share of the reachable reward that a model attains: the scale of everything after it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.wide_tables import column, point_keys
from recalltrap_analysis.statistics.paired import Array


def attainment(reward: Array, reward_start: Array, reward_supremum: Array) -> Array:
    """a = (R - R0) / (R_max - R0): 0 is p'' before alignment, 1 the reward's supremum.

    All three have one shape; R0 is the reward of p''. NaN where p'' is at the supremum already.
    """
    room = np.asarray(reward_supremum, dtype=float) - reward_start
    room = np.where(room > 0, room, np.nan)
    return np.asarray((reward - reward_start) / room, dtype=float)


def cell_attainments(outcomes: pd.DataFrame, design: Design) -> pd.DataFrame:
    """The attainment of every cell's final model: `point`, `ordering`, `seed`, `attainment`."""
    start = column(outcomes, "p_second.reward").to_numpy()
    reached = attainment(
        column(outcomes, "final.reward").to_numpy(),
        start,
        column(outcomes, "reward_supremum").to_numpy(),
    )
    return pd.DataFrame(
        {
            "point": pd.Series(point_keys(outcomes, design.axes), dtype=object),
            "ordering": outcomes["ordering"].to_numpy(),
            "seed": outcomes["seed"].to_numpy(),
            "attainment": reached,
        }
    )
