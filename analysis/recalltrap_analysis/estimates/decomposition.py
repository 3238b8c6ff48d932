"""Where the trap comes from: the order effect split into four parts that add up exactly, per seed.

With a*(π) the attainment of the exact optimum π*(x) ∝ π(x)·exp(R(x)/β) anchored to π:

    a(p''_AK) - a(p''_KA) =   [a(p''_AK) - a(p'_AK)]    last distillation
                            + [a(p'_AK)  - a*(p')]      optimiser, A-K
                            + [a*(p')    - a*(p'')]     reference: the structural trap
                            + [a*(p'')   - a(p''_KA)]   optimiser, K-A
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.order_effect import COMPLETE, planned_points, spread
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.student import student_interval

PARTS = ("last_distillation", "optimiser_ak", "reference", "optimiser_ka")

TITLES: Mapping[str, str] = {
    "last_distillation": "last distillation of A-K",
    "optimiser_ak": "optimiser of A-K",
    "reference": "reference (structural trap)",
    "optimiser_ka": "optimiser of K-A",
}
LABELS_NOTE = (
    "DPO and KTO learn from labels, so the optimum is a yardstick and not their fixed point: hard "
    "labels depend on the order of rewards alone, and the two optimiser parts also hold the "
    "difference of the objectives."
)
"""For records of kinds whose algorithm learns from labels (`KindRecord.optimum_note`)."""


def decompose(
    attainment_ak: Array,
    attainment_p_prime_ak: Array,
    optimum_p_prime: Array,
    optimum_p_second: Array,
    attainment_ka: Array,
) -> dict[str, Array]:
    """The four parts of the order effect, each with the shape of the arguments.

    Args:
        attainment_ak: a(p''_AK), the final model of A-K.
        attainment_p_prime_ak: a(p'_AK), the aligned intermediate of A-K.
        optimum_p_prime: a*(p'), of the exact optimum anchored to p'.
        optimum_p_second: a*(p''), of the exact optimum anchored to p''.
        attainment_ka: a(p''_KA), the final model of K-A.
    """
    parts = {
        "last_distillation": attainment_ak - attainment_p_prime_ak,
        "optimiser_ak": attainment_p_prime_ak - optimum_p_prime,
        "reference": optimum_p_prime - optimum_p_second,
        "optimiser_ka": optimum_p_second - attainment_ka,
    }
    total = sum(parts.values())
    order_effect = attainment_ak - attainment_ka
    scale = 1 + sum(np.abs(part) for part in parts.values())
    assert np.all(np.abs(total - order_effect) <= 1e-9 * scale), (
        "the parts must add up to the order effect"
    )
    return parts


NEEDED = (
    "attainment_ak",
    "attainment_p_prime_ak",
    "attainment_optimum_p_prime",
    "attainment_optimum_p_second",
    "attainment_ka",
)


def decompose_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Adds the four parts as columns to rows of `pair_orderings`; NaN where one is missing."""
    values = [pairs[name].to_numpy(dtype=float) for name in NEEDED]
    known = np.isfinite(np.stack(values, axis=0)).all(axis=0) if len(pairs) else np.zeros(0, bool)
    parts = decompose(*(value[known] for value in values))
    filled = {}
    for name, part in parts.items():
        filled[name] = np.full(len(pairs), np.nan)
        filled[name][known] = part
    return pairs.assign(**filled)


def decomposition_table(pairs: pd.DataFrame, design: Design, kind: KindRecord) -> pd.DataFrame:
    """One row per grid point: the mean of every part with its interval.

    Args:
        pairs: Rows of `pair_orderings`.
        design: What was planned; incomplete grid points are labelled and get no numbers.
        kind: What the kind says of its optima.

    Returns:
        The axes, `point`, `state`, `order_effect`, every part of `PARTS` with `_low` and `_high`,
        `largest` (the part with the largest mean size), `note` (what to know of the optimum under
        these settings, or empty) and `reliability` (empty, or what is wrong with the optima).
    """
    states = planned_points(design, decompose_pairs(pairs))
    complete: dict[GridPoint, pd.DataFrame] = {}
    labels: dict[GridPoint, str] = {}
    for point, (state, rows) in states.items():
        labels[point] = state if state != COMPLETE else _state(rows)
        if labels[point] == COMPLETE:
            complete[point] = rows
    records = []
    for point, state in labels.items():
        record: dict[str, Any] = dict(zip(design.axes, point, strict=True))
        record |= {"point": point, "state": state}
        known = complete.get(point)
        record["order_effect"] = (
            float(known["order_effect"].mean()) if known is not None else np.nan
        )
        estimates = (
            {name: student_interval(known[name]) for name in PARTS} if known is not None else {}
        )
        record |= spread(estimates, PARTS)
        record["largest"] = max(PARTS, key=lambda n: abs(record[n])) if known is not None else ""
        record["note"], record["reliability"] = "", ""
        if known is not None:
            record["note"] = kind.optimum_note(design.settings[point])
            check = kind.optimum_check
            record["reliability"] = check.reliability(known) if check is not None else ""
        records.append(record)
    return pd.DataFrame.from_records(
        records, columns=list(records[0]) if records else [*design.axes, "point", "state"]
    )


def _state(rows: pd.DataFrame) -> str:
    values = np.stack([rows[name].to_numpy(dtype=float) for name in NEEDED], axis=1)
    lacking = ~np.isfinite(values)
    if not lacking.any():
        return COMPLETE
    names = [name for name, bad in zip(NEEDED, lacking.any(axis=0), strict=True) if bad]
    words = ", ".join(name.removeprefix("attainment_").replace("_", " ") for name in names)
    return f"no value of {words} in {int(lacking.any(axis=1).sum())} of {len(rows)} pairs"
