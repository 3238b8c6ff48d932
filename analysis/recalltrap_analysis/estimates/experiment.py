"""The order effect split by experiment: three paired differences that add up exactly, per seed.

    a(A-K) - a(K-A) =   [a(K-A@p') - a(K-A)]   anchor: same student, same start, another reference
                      + [a(A) - a(K-A@p')]     size and start: the large model from p'
                      + [a(A-K) - a(A)]        last distillation: sharpening, or loss

One path of several: the parts depend on the order of the swaps. Needs no optimum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.order_effect import (
    ALIGN_THEN_KD,
    ANCHORED_TO_P_PRIME,
    COMPLETE,
    KD_THEN_ALIGN,
    spread,
)
from recalltrap_analysis.estimates.reward_recall import Curve, reward_recall_curves
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.statistics.paired import Array, Estimate
from recalltrap_analysis.statistics.student import share_of_whole, student_interval

ALIGN_ALONE = "A"
ORDER_EFFECT = "order_effect"
PARTS = ("anchor", "size_and_start", "last_distillation")
TITLES: Mapping[str, str] = {
    ORDER_EFFECT: "order effect",
    "anchor": "anchor",
    "size_and_start": "size and start",
    "last_distillation": "last distillation",
}


def split_by_experiment(
    attainment_ak: Array, attainment_a: Array, attainment_anchored: Array, attainment_ka: Array
) -> dict[str, Array]:
    """The three parts of the order effect, each with the shape of the arguments.

    Args:
        attainment_ak: a(p''_AK), the final model of A-K.
        attainment_a: a(p'_AK), of A, which is also A-K's aligned intermediate.
        attainment_anchored: a of K-A@p': p'' aligned with the reference p'.
        attainment_ka: a(p''_KA), the final model of K-A.
    """
    return {
        "anchor": attainment_anchored - attainment_ka,
        "size_and_start": attainment_a - attainment_anchored,
        "last_distillation": attainment_ak - attainment_a,
    }


def experiment_table(outcomes: pd.DataFrame, design: Design, kl_weight: str | None) -> pd.DataFrame:
    """One row per grid point where the study planned K-A, A-K and K-A@p'.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        design: What was planned.
        kl_weight: The setting that weighs the KL penalty.

    Returns:
        The axes, `point`, `state` (`complete`, or why there are no numbers), `n` seeds, and for
        the order effect and every part of `PARTS` the mean with `_low` and `_high`; for every part
        `<part>_share` of the order effect, with its limits where the order effect is clear of 0.
    """
    shares = [f"{part}_share" for part in PARTS]
    estimated = (ORDER_EFFECT, *PARTS, *shares)
    numbers = [name + end for name in estimated for end in ("", "_low", "_high")]
    names = [*design.axes, "point", "state", "n", *numbers]
    needed = (ALIGN_THEN_KD, ANCHORED_TO_P_PRIME, KD_THEN_ALIGN)
    if not set(needed) <= set(design.orderings):
        return pd.DataFrame(columns=names)
    curves = reward_recall_curves(outcomes, design, kl_weight)
    rows: dict[Any, dict[str, Any]] = {}
    for stratum in dict.fromkeys(stratum for stratum, _ in curves):
        ak, anchored, ka = (curves.get((stratum, name)) for name in needed)
        if ak is None or anchored is None or ka is None:
            continue
        unpaired = len({(tuple(arm.seeds), tuple(arm.points)) for arm in (ak, anchored, ka)}) > 1
        attained = attainments(ak, anchored, ka, curves.get((stratum, ALIGN_ALONE)))
        for place, point in enumerate(ak.points):
            record = dict(zip(design.axes, point, strict=True)) | {"point": point}
            if unpaired:
                state, here = "unbalanced: the orderings were planned with different seeds", None
            else:
                here = [values[:, place] for values in attained]
                state = _state(here)
            estimates = _estimates(here) if here is not None and state == COMPLETE else {}
            n = estimates[ORDER_EFFECT].n if estimates else 0
            rows[point] = record | {"state": state, "n": n}
            rows[point] |= spread(estimates, estimated)
    ordered = [rows[point] for point in design.points if point in rows]
    return pd.DataFrame.from_records(ordered, columns=names)


def attainments(ak: Curve, anchored: Curve, ka: Curve, alone: Curve | None) -> tuple[Array, ...]:
    """The arguments of `split_by_experiment`, shape [N, W] each.

    p'_AK is A-K's aligned intermediate; where that wasn't measured it is A's final model, which is
    the same one.
    """
    aligned = ak.attainment_p_prime_aligned
    if alone is not None and (alone.seeds, alone.points) == (ak.seeds, ak.points):
        aligned = np.where(np.isfinite(aligned), aligned, alone.attainment)
    return ak.attainment, aligned, anchored.attainment, ka.attainment


def _state(attained: list[Array]) -> str:
    known_N = np.asarray(np.isfinite(np.stack(attained)).all(axis=0))
    if known_N.all():
        return COMPLETE
    return f"incomplete: {int((~known_N).sum())} of {len(known_N)} seeds lack a model of the split"


def _estimates(attained: list[Array]) -> dict[str, Estimate]:
    parts = split_by_experiment(*attained)
    whole = attained[0] - attained[3]
    found = {ORDER_EFFECT: student_interval(whole)}
    for name, part in parts.items():
        found[name] = student_interval(part)
        found[f"{name}_share"] = share_of_whole(part, whole)
    return found
