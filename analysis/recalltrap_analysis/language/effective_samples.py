"""How far an optimum by importance weights can be trusted: its effective sample size.

A language model's optimum is weighed from samples of the reference, and says little where a few
of them hold most of the weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from recalltrap_analysis.number_format import decimal_text, point_text, quantity_text
from recalltrap_analysis.runs.kind_record import OptimumCheck

FLOOR = 100
"""Effective samples below which a weighed optimum is called unreliable. At 100 its standard error
is a tenth of the reward's spread under the optimum, and its bias, of order 1 / ESS, is far below
that; under it a few responses decide, and responses that were never drawn are missed."""

REFERENCES: Mapping[str, str] = {"p_prime": "p'", "p_second": "p''"}


def reliability(rows: pd.DataFrame) -> str:
    """What is wrong with the weighed optima of one grid point; empty where nothing is.

    Args:
        rows: One row per seed with the columns `ess_p_prime` and `ess_p_second`; NaN where the
            optimum was not weighed.
    """
    found = []
    for name, title in REFERENCES.items():
        sizes = rows[f"ess_{name}"].to_numpy(dtype=float)
        small = sizes < FLOOR
        if small.any():
            found.append(
                f"{title} leaves as few as {decimal_text(np.nanmin(sizes), 0)} effective samples "
                f"(in {int(small.sum())} of {len(sizes)} seeds fewer than {FLOOR})"
            )
    return f"unreliable: {'; '.join(found)}" if found else ""


def warning(table: pd.DataFrame, axes: Sequence[str]) -> str:
    """One sentence on the grid points whose optima are unreliable; empty without any.

    Args:
        table: Columns `point` and, where optima may have been weighed, `reliability`.
        axes: The grid's axes.
    """
    if "reliability" not in table.columns:
        return ""
    doubts = [(p, r) for p, r in zip(table["point"], table["reliability"], strict=True) if r]
    if not doubts:
        return ""
    point, text = doubts[0]
    where = (
        f"{len(doubts)} of {len(table)} grid points, e.g. {point_text(point, axes)}"
        if axes
        else "the only one"
    )
    return (
        "Optima of language models are weighed from samples of the reference. Read what depends "
        f"on them with care at {where}: {text}."
    )


def explanation(table: pd.DataFrame) -> str:
    """What effective samples are, and the fewest that any optimum of a forecast rests on."""
    least = min(float(table[f"ess_{name}"].min()) for name in REFERENCES)
    return (
        "Here the optimum is weighed from samples of the reference, each by exp(R / β), and so "
        "is known as well as its effective sample size allows: at least "
        f"{quantity_text(least)} in this study. Below {FLOOR} it is called unreliable: a few "
        "responses decide it, and what was never sampled can't count."
    )


EFFECTIVE_SAMPLES = OptimumCheck(
    metric="optimum_ess",
    column="ess",
    title="effective samples",
    reliability=reliability,
    warning=warning,
    explanation=explanation,
)
