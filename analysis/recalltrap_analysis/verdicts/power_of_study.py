"""What a study's primary endpoint can decide with the seeds that are planned, before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap_analysis.estimates.attainment import ATTAINMENT, reward_unit
from recalltrap_analysis.estimates.contrasts import Contrast, contrast_name
from recalltrap_analysis.estimates.reward_recall import other_axes
from recalltrap_analysis.number_format import count_text, decimal_text, setting_text
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.protocol import Run, StudyLike
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.power import POWER, detectable_effect, not_larger_effect
from recalltrap_analysis.verdicts.judgement import (
    MEAN,
    SLOPE,
    At,
    PrimaryEndpoint,
    resolved,
)
from recalltrap_analysis.verdicts.margin import SMALL_FROM
from recalltrap_analysis.verdicts.primary import endpoint_samples

GUESSED_SD = {ATTAINMENT: 0.15}
"""Over seeds, of a mean over KL weights: mixtures have 0.05 at sharpness 1.25 and 0.25 at 10."""
OTHER_GUESS = 0.3
"""In standard deviations of the reward under p'."""


@dataclass(frozen=True)
class Decidable:
    """What the primary of a study can decide in each of its strata, at its last look.

    `level` is the one-sided level of one stratum's test, adjusted for strata and looks; `sd` the
    smallest and the largest spread over seeds expected of a stratum, and `sd_from` where it comes
    from. `detectable`: the true effect found larger than the margin with 80 % power, at each of
    the two; `not_larger`: the largest true effect found *not larger* with 80 % power, None where
    the seeds are too few to say that of any.
    """

    contrast: Contrast
    at: At
    strata: int
    seeds: int
    looks: tuple[int, ...]
    margin: float
    unit: str
    level: float
    sd: tuple[float, float]
    sd_from: str
    detectable: tuple[float, float]
    not_larger: tuple[float, float] | None

    def text(self) -> str:
        """The same in sentences."""
        where = f"in each of {self.strata} strata" if self.strata > 1 else "in one stratum"
        looks = f", looked at with {_listed(self.looks)} seeds" if len(self.looks) > 1 else ""
        small = f"*not larger* can't be said with fewer than {SMALL_FROM} seeds"
        if self.not_larger:
            small = f"*not larger* is likely for true effects up to {_ends(self.not_larger)}"
        return (
            f"{contrast_name(self.contrast)}, {at_text(self.at)}, {where}, margin {self.margin:g} "
            f"({self.unit}){looks}: with {count_text(self.seeds, 'seed')} a true effect of "
            f"{_ends(self.detectable)} is found larger with {POWER:.0%} power; {small}. Spread "
            f"over seeds: sd {_ends(self.sd)} ({self.sd_from})."
        )


def at_text(at: At) -> str:
    """Where along the KL weights an endpoint lies, in words."""
    if at == MEAN:
        return "mean over the KL weights"
    if at == SLOPE:
        return "slope per doubling of the KL weight"
    return f"at KL weight {setting_text(at)}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"


def _ends(values: tuple[float, float]) -> str:
    texts = dict.fromkeys(decimal_text(value) for value in values)
    return " to ".join(texts)


def decidable(
    study: StudyLike,
    cells: Sequence[Cell],
    axes: Sequence[str],
    *,
    relative: Run | None = None,
    sd: float | None = None,
) -> Decidable | None:
    """What a study's primary can decide; None where it has none.

    Args:
        study: As written, whether it ran or not.
        cells: Its planned cells.
        axes: Its grid's axes.
        relative: A finished run whose spread over seeds is expected here too: the same contrast at
            the same place, in any of its strata.
        sd: The spread to expect, where no relative has one.

    Raises:
        InputError: the study asks for what it doesn't have, or `sd` isn't a number above 0.
    """
    kind = record_of(study.kind)
    design = Design.of(cells, tuple(axes))
    unit = ATTAINMENT if relative is None else _unit(relative)
    judgement = resolved(study, kind, study.looks, unit)
    if judgement.primary is None:
        return None
    spread, source = _spread(judgement.primary, unit, relative, sd)
    kept = [i for i, axis in enumerate(design.axes) if axis in other_axes(design, kind.kl_weight)]
    strata = len({tuple(point[i] for i in kept) for point in design.points})
    seeds = max((len(study.seeds), *study.looks))
    level = nominal_level(judgement.looks, tests=strata) / strata
    low, high = spread
    margin = judgement.margin
    small = (
        (
            not_larger_effect(high, seeds, margin, level),
            not_larger_effect(low, seeds, margin, level),
        )
        if seeds >= SMALL_FROM
        else None
    )
    return Decidable(
        judgement.primary.contrast,
        judgement.primary.at,
        strata,
        seeds,
        judgement.looks,
        margin,
        unit,
        level,
        spread,
        source,
        (
            detectable_effect(low, seeds, margin, level),
            detectable_effect(high, seeds, margin, level),
        ),
        small,
    )


def _unit(run: Run) -> str:
    supremum = record_of(run.study.kind).reward_supremum
    return reward_unit(cell_outcomes(run.table("metrics"), tuple(run.axes), supremum))


def _spread(
    primary: PrimaryEndpoint, unit: str, relative: Run | None, sd: float | None
) -> tuple[tuple[float, float], str]:
    """The smallest and largest sd over seeds to expect, and where they come from."""
    if sd is not None:
        if not 0 < sd < float("inf"):
            raise InputError(f"sd must be a number above 0, not {sd!r}")
        return (sd, sd), "as given"
    found = spreads(relative, primary) if relative is not None else []
    if relative is not None and found:
        return (min(found), max(found)), f"that of {relative.study.name}"
    guess = GUESSED_SD.get(unit, OTHER_GUESS)
    return (guess, guess), "a guess: no relative has finished"


def spreads(run: Run, primary: PrimaryEndpoint) -> list[float]:
    """The sd over seeds of a primary endpoint in every stratum of a run that has numbers for it.

    A run whose strata lack the primary's KL weight has none; a slope or a mean is over its own.
    """
    kind = record_of(run.study.kind)
    axes = tuple(run.axes)
    design = Design.of(run.planned(), axes)
    if not set(primary.contrast) <= set(design.orderings):
        return []
    outcomes = cell_outcomes(run.table("metrics"), axes, kind.reward_supremum)
    samples = endpoint_samples(outcomes, design, kind.kl_weight, primary)
    return [
        float(sample.values_N.std(ddof=1))
        for sample in samples.values()
        if sample.values_N is not None and len(sample.values_N) > 1
    ]
