"""By what a run is judged: margin, budget, contrasts, primary endpoint and looks, all resolved.

A study may leave any of them open; what stands here is what counts. Nothing is computed from
values: two judgements of one run differ in words, never in numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from recalltrap.errors import InputError, nearest
from recalltrap_analysis.estimates.attainment import ATTAINMENT, reward_unit, usual_margin
from recalltrap_analysis.estimates.contrasts import Contrast, default_contrasts
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, KD_THEN_ALIGN
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.runs.protocol import Run, StudyLike

MEAN, SLOPE = "mean", "slope"
At: TypeAlias = str | float
"""`mean` over the KL weights, `slope` per doubling of the KL weight, or one KL weight."""


@dataclass(frozen=True)
class PrimaryEndpoint:
    """The one comparison that a study is run to decide, in each stratum."""

    contrast: Contrast
    at: At


@dataclass(frozen=True)
class Judgement:
    """By what a run is judged; `unit` is that of the margin and of every difference of rewards.

    `looks`: the numbers of seeds at which it was, or is to be, judged.
    """

    margin: float
    recall_budget: float
    contrasts: tuple[Contrast, ...]
    primary: PrimaryEndpoint | None
    looks: tuple[int, ...] = ()
    unit: str = ATTAINMENT


def judgement_of(run: Run, kind: KindRecord, outcomes: pd.DataFrame) -> Judgement:
    """The judgement of a run.

    Args:
        run: With its study and its looks.
        kind: What the analysis knows of the study's kind.
        outcomes: One row per cell, as `cell_outcomes` returns it; they tell the unit.

    Raises:
        InputError: the study asks for what it doesn't have.
    """
    return resolved(run.study, kind, run.looks(), reward_unit(outcomes))


def resolved(study: StudyLike, kind: KindRecord, looks: Sequence[int], unit: str) -> Judgement:
    """The judgement of a study, whether it ran or not; see `judgement_of`."""
    usual = usual_margin(unit)
    names = [ordering.name for ordering in study.orderings]
    contrasts = default_contrasts(study.orderings) if study.contrasts is None else study.contrasts
    return Judgement(
        margin=from_zero_on("margin", usual if study.margin is None else study.margin),
        recall_budget=from_zero_on(
            "recall_budget",
            kind.recall_budget if study.recall_budget is None else study.recall_budget,
        ),
        contrasts=checked_contrasts(contrasts, names),
        primary=_primary(study, names),
        looks=tuple(looks),
        unit=unit,
    )


def from_zero_on(name: str, value: float) -> float:
    """The value of a field.

    Raises:
        InputError: it is no number from 0 on.
    """
    if not (np.isfinite(value) and value >= 0):
        raise InputError(f"{name} must be a number from 0 on, not {value!r}")
    return float(value)


def checked_contrasts(
    contrasts: Sequence[Contrast], orderings: Sequence[str]
) -> tuple[Contrast, ...]:
    """The contrasts as pairs.

    Raises:
        InputError: one isn't a pair of different orderings of the study.
    """
    found = []
    for contrast in contrasts:
        if isinstance(contrast, str) or len(contrast) != 2 or contrast[0] == contrast[1]:
            raise InputError(f"a contrast is two orderings, e.g. ('A-K', 'K-A'), not {contrast!r}")
        for name in contrast:
            if name not in orderings:
                raise InputError(f"the study has no ordering {name!r}; {nearest(name, orderings)}")
        found.append((contrast[0], contrast[1]))
    return tuple(found)


def _primary(study: StudyLike, orderings: Sequence[str]) -> PrimaryEndpoint | None:
    if study.primary is None:
        usual = (ALIGN_THEN_KD, KD_THEN_ALIGN)
        return PrimaryEndpoint(usual, MEAN) if set(usual) <= set(orderings) else None
    (contrast,) = checked_contrasts([study.primary.contrast], orderings)
    return PrimaryEndpoint(contrast, study.primary.at)
