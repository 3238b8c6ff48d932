"""Whether what is said of an effect changes with the learning rates that it was found at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.estimates.rate_robustness import AS_SET, OWN_BEST
from recalltrap_analysis.number_format import count_text
from recalltrap_analysis.statistics.paired import STUDENT, Estimate
from recalltrap_analysis.statistics.student import one_sided_bounds
from recalltrap_analysis.verdicts.margin import margin_words


def rate_words(table: pd.DataFrame, margin: float) -> pd.DataFrame:
    """A table of `rate_table` with the words of every row on the margin, each row by itself.

    Returns:
        Its columns, `lower` and `upper` (one-sided 5 % bounds), `words` (empty where there are no
        numbers), and `changed`: whether they differ from those of the same contrast and grid point
        as set; False where either has none.
    """
    bounds = [_bounds(row) for row in table.to_dict("records")]
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


def _bounds(row: dict[Any, Any]) -> tuple[float, float]:
    if row["state"] != COMPLETE:
        return np.nan, np.nan
    estimate = Estimate(row["value"], row["low"], row["high"], STUDENT, int(row["n"]))
    return one_sided_bounds(estimate)


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
