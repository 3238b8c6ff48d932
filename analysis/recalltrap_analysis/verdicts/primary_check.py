"""Whether a study has the KL weights that its primary endpoint names, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from recalltrap.errors import InputError, shown
from recalltrap.orderings import Ordering
from recalltrap.registry import find_kind
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, KD_THEN_ALIGN
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.protocol import PrimaryLike


class Question(Protocol):
    """What a study writes: enough to know its KL weights."""

    @property
    def kind(self) -> str: ...
    @property
    def grid(self) -> Mapping[str, Sequence[Any]]: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def primary(self) -> PrimaryLike | None: ...
    @property
    def looks(self) -> Sequence[int]: ...
    @property
    def orderings(self) -> Sequence[Ordering]: ...


def check_primary(study: Question) -> None:
    """Refuse a primary at a KL weight that no cell has, or over KL weights that don't vary.

    Raises:
        InputError: saying which KL weights there are; it doesn't name the field or its line.
    """
    if study.primary is None:
        usual = {ALIGN_THEN_KD, KD_THEN_ALIGN}
        if study.looks and not usual <= {ordering.name for ordering in study.orderings}:
            raise InputError(
                "no primary says when the study is decided: write primary: {contrast: [A-K, K-A]} "
                "with two of its orderings, or give seeds a number"
            )
        return
    if study.primary.at == "mean":
        return
    at, axis = study.primary.at, record_of(study.kind).kl_weight
    if axis is None:
        raise InputError(f"{shown(at)}: the kind {study.kind!r} has no KL weight: write mean")
    default = find_kind(study.kind).settings.model_fields[axis].default
    weights = study.grid.get(axis, (study.settings.get(axis, default),))
    there = ", ".join(f"{weight:g}" for weight in weights)
    if at == "slope" and len(weights) < 2:
        raise InputError(f"a slope needs two KL weights, and the study has one: {there}")
    if at != "slope" and at not in weights:
        raise InputError(f"{shown(at)} is none of the study's KL weights: {there}, or mean, slope")
