"""What the references alone say, seed by seed: what can be known before any alignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from recalltrap_analysis.estimates.attainment import unit_size
from recalltrap_analysis.runs.kind_record import OptimumCheck
from recalltrap_analysis.runs.wide_tables import column, point_keys

REFERENCES = ("p_prime", "p_second")


def reference_rows(
    outcomes: pd.DataFrame, axes: Sequence[str], check: OptimumCheck | None = None
) -> pd.DataFrame:
    """One row per grid point and seed: what the references say, whatever the ordering.

    Every cell of a seed reports the same references, so the first one stands for all.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        axes: The grid's axes.
        check: What tells how far the optima can be trusted, if the kind has such a number.

    Returns:
        Columns `point`, `seed`, `unit_size` (what the run's unit is in reward); of p' and p''
        (`_p_prime`, `_p_second`) `optimum_reward` (of the optimum anchored there), `reward`,
        `hit_rate`, `recall` and the check's number; `anchor_part`: a*(p') - a*(p''), in the run's
        unit.
    """
    rows = pd.DataFrame(
        {
            "point": pd.Series(point_keys(outcomes, axes), dtype=object),
            "seed": outcomes["seed"],
            "unit_size": unit_size(outcomes),
            "optimum_reward_p_prime": column(outcomes, "p_prime.optimum_reward"),
            "optimum_reward_p_second": column(outcomes, "p_second.optimum_reward"),
            "reward_p_prime": column(outcomes, "p_prime.reward"),
            "reward_p_second": column(outcomes, "p_second.reward"),
            "hit_rate_p_prime": column(outcomes, "p_prime.hit_rate"),
            "hit_rate_p_second": column(outcomes, "p_second.hit_rate"),
            "recall_p_prime": column(outcomes, "p_prime.overall_recall"),
            "recall_p_second": column(outcomes, "p_second.overall_recall"),
            **_check_columns(outcomes, check),
        }
    ).drop_duplicates(["point", "seed"])
    return rows.assign(anchor_part=difference_in_unit(rows, "optimum_reward"))


def difference_in_unit(rows: pd.DataFrame, reward: str) -> Any:
    """`<reward>_p_prime` minus `<reward>_p_second` in the run's unit, one per row."""
    prime, second = (rows[f"{reward}_{name}"] for name in REFERENCES)
    return (prime - second) / rows["unit_size"]


def _check_columns(outcomes: pd.DataFrame, check: OptimumCheck | None) -> dict[str, Any]:
    if check is None:
        return {}
    return {
        f"{check.column}_{name}": column(outcomes, f"{name}.{check.metric}") for name in REFERENCES
    }
