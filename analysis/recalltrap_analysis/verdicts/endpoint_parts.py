"""What stands behind the primary endpoint in each stratum: its parts, and its trapped seeds.

The parts are taken where the primary is: at the same KL weight, on the same average, or as the
same slope. Shapes: N seeds, W KL weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.experiment import (
    ALIGN_ALONE,
    attainments,
    split_by_experiment,
)
from recalltrap_analysis.estimates.order_effect import (
    ALIGN_THEN_KD,
    ANCHORED_TO_P_PRIME,
    BEYOND_MARGIN,
    COMPLETE,
    KD_THEN_ALIGN,
    TRAP_RATE,
    by_point,
)
from recalltrap_analysis.estimates.reward_recall import Curve, other_axes, reward_recall_curves
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.runs.wide_tables import rows_of
from recalltrap_analysis.statistics.paired import Array, Estimate
from recalltrap_analysis.statistics.student import student_interval
from recalltrap_analysis.verdicts.judgement import At, Judgement
from recalltrap_analysis.verdicts.primary import at_endpoint, kl_weights, stratum_text

NEEDED = (ALIGN_THEN_KD, ANCHORED_TO_P_PRIME, KD_THEN_ALIGN)


@dataclass(frozen=True)
class Behind:
    """What stands behind the primary's number in one stratum, at the same place.

    `parts` has the order effect's parts by experiment; without `K-A@p'` it is empty and `estimate`
    is severity from the optima, where they are known. `trap_rate` is that of the stratum's worst
    grid point, NaN where there is none (without a supremum, the share of seeds beyond the margin:
    `trap_is_beyond_margin`), `trap_limit` its upper Wilson limit, `trap_gap` how far
    apart the two are there in the mean over trapped seeds, and `trap_against` the ordering that
    K-A's seeds are held against.
    """

    parts: Mapping[str, Estimate] = field(default_factory=dict)
    estimate: Estimate | None = None
    trap_rate: float = np.nan
    trap_limit: float = np.nan
    trap_gap: float = np.nan
    trap_against: str = ""
    trap_is_beyond_margin: bool = False


def behind_primary(
    outcomes: pd.DataFrame,
    pairs: pd.DataFrame,
    table: pd.DataFrame,
    design: Design,
    kind: KindRecord,
    judgement: Judgement,
) -> dict[str, Behind]:
    """By the primary's `stratum`; empty unless the primary is A-K against K-A.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        pairs: Rows of `pair_orderings`.
        table: As `order_effect_table` returns it.
        design: What was planned.
        kind: What the analysis knows of the study's kind.
        judgement: Of the run.
    """
    primary = judgement.primary
    if primary is None or primary.contrast != (ALIGN_THEN_KD, KD_THEN_ALIGN):
        return {}
    curves = reward_recall_curves(outcomes, design, kind.kl_weight)
    groups = by_point(pairs)
    limits = {row["point"]: row for row in rows_of(table) if row["state"] == COMPLETE}
    found = {}
    for (stratum, name), ka in curves.items():
        if name != KD_THEN_ALIGN:
            continue
        weights = kl_weights(design, ka.points, kind.kl_weight)
        mine = {other: curves.get((stratum, other)) for other in (*NEEDED, ALIGN_ALONE)}
        worst = max(
            (limits[point] for point in ka.points if point in limits),
            key=lambda row: row[f"{_rate_of(row)}_high"],
            default=None,
        )
        found[stratum_text(stratum, other_axes(design, kind.kl_weight))] = Behind(
            _parts(mine, weights, primary.at),
            _estimate(ka, groups, weights, primary.at)
            if mine[ANCHORED_TO_P_PRIME] is None
            else None,
            **({} if worst is None else _trap(worst)),
        )
    return found


def _rate_of(row: Mapping[str, Any]) -> str:
    """The trap rate's column, or that of what stands for it."""
    return BEYOND_MARGIN if BEYOND_MARGIN in row else TRAP_RATE


def _trap(row: Mapping[str, Any]) -> dict[str, Any]:
    rate = _rate_of(row)
    return {
        "trap_is_beyond_margin": rate == BEYOND_MARGIN,
        "trap_rate": float(row[rate]),
        "trap_limit": float(row[f"{rate}_high"]),
        "trap_gap": float(row["trap_gap"]),
        "trap_against": str(row["trap_rate_against"]),
    }


def _parts(
    curves: Mapping[str, Curve | None], weights: Sequence[float | None], at: At
) -> dict[str, Estimate]:
    """The parts by experiment; none where a value of one of them isn't known."""
    ak, anchored, ka = (curves[name] for name in NEEDED)
    if ak is None or anchored is None or ka is None:
        return {}
    if len({(tuple(arm.seeds), tuple(arm.points)) for arm in (ak, anchored, ka)}) > 1:
        return {}
    parts = split_by_experiment(*attainments(ak, anchored, ka, curves[ALIGN_ALONE]))
    series = {name: at_endpoint(part, weights, at) for name, part in parts.items()}
    if not all(np.isfinite(values_N).all() for values_N in series.values()):
        return {}
    return {name: student_interval(values_N) for name, values_N in series.items()}


def _estimate(
    ka: Curve,
    groups: Mapping[GridPoint, pd.DataFrame],
    weights: Sequence[float | None],
    at: At,
) -> Estimate | None:
    """Severity from the optima at the endpoint, where both are known in every seed."""
    columns = []
    for point in ka.points:
        rows = groups.get(point)
        if rows is None or rows["seed"].tolist() != sorted(ka.seeds):
            return None
        columns.append(rows["severity_estimate"].to_numpy(dtype=float))
    values_NW: Array = np.stack(columns, axis=1)
    values_N = at_endpoint(values_NW, weights, at)
    return student_interval(values_N) if np.isfinite(values_N).all() else None
