"""How far an optimum by importance weights can be trusted: its effective sample size.

A mixture's optimum is a quadrature and has none; a language model's is weighed from samples of
the reference, and says little where a few of them hold most of the weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from recalltrap_analysis.number_format import point_text

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
                f"{title} leaves as few as {np.nanmin(sizes):.0f} effective samples "
                f"(in {int(small.sum())} of {len(sizes)} seeds fewer than {FLOOR})"
            )
    return f"unreliable: {'; '.join(found)}" if found else ""


def weighed(rows: pd.DataFrame) -> bool:
    """Whether any optimum was weighed from samples."""
    return bool(rows[[f"ess_{name}" for name in REFERENCES]].notna().any(axis=None))


def doubt_over(table: pd.DataFrame, axes: Sequence[str]) -> str:
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
