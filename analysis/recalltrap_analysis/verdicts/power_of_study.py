"""What a study's primary endpoint can decide with the seeds that are planned, before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap_analysis.estimates.attainment import ATTAINMENT, IN_SDS, reward_unit
from recalltrap_analysis.estimates.contrasts import Contrast, contrast_name
from recalltrap_analysis.estimates.reward_recall import other_axes
from recalltrap_analysis.number_format import count_text, decimal_text, setting_text
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import KindRecord, record_of
from recalltrap_analysis.runs.protocol import Run, StudyLike
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.margin import SMALL_FROM
from recalltrap_analysis.statistics.power import POWER, detectable_effect, not_larger_effect
from recalltrap_analysis.verdicts.judgement import (
    MEAN,
    SLOPE,
    At,
    PrimaryEndpoint,
    resolved,
)
from recalltrap_analysis.verdicts.primary import endpoint_samples

GUESSED_SD, GUESSED_SD_OF_SEVERAL = 0.25, 0.15
"""Of attainment over seeds, at one KL weight and over several: mixtures have 0.23 to 0.28 at a
strong anchor and sharpness 10, and of the mean over two weights 0.14, over ten 0.01 to 0.12."""
SDS_PER_ATTAINMENT = 2.0
"""A spread in standard deviations of the reward under p', over the same one in attainment: 1.6 to
2.2 in the language studies (nano, both algorithms)."""
MOST_READ = 3
"""Relatives whose tables are read for their spread."""


@dataclass(frozen=True)
class Decidable:
    """What the primary of a study can decide in each of its strata, with all the seeds it plans.

    `level` is the one-sided level of one stratum's test, adjusted for strata and looks; `sd` the
    smallest and the largest spread over seeds expected of a stratum, and `sd_from` where it comes
    from. `detectable`: the true effect found larger than the margin with 80 % power, at each of
    the two; `not_larger`: the largest true effect found *not larger* with 80 % power, None where
    the seeds are too few to say that of any.
    """

    contrast: Contrast
    at: At
    kl_weights: int
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

    def rows(self) -> list[tuple[str, str]]:
        """The same as `what` and `value`, in words that people read."""
        strata = f", in each of {self.strata} strata" if self.strata > 1 else ""
        where = at_text(self.at, self.kl_weights)
        return [
            ("primary", f"{contrast_name(self.contrast)}, {where}{strata}"),
            (f"detects with {POWER:.0%} power", self._detects()),
            ("can call not larger up to", self._calls_small()),
            ("spread over seeds", f"sd {_ends(self.sd)}: {self.sd_from}"),
        ]

    def _detects(self) -> str:
        if self.seeds < 2:
            return "nothing: one seed has no spread"
        judged = f" ({_listed(self.looks)} are looked at)" if len(self.looks) > 1 else ""
        margin = (
            f"margin {self.margin:g} of {self.unit}" if self.unit else f"margin {self.margin:g}"
        )
        with_seeds = f"with {count_text(self.seeds, 'seed')}{judged}"
        return f"a true effect of {_ends(self.detectable)} {with_seeds}; {margin}"

    def _calls_small(self) -> str:
        if self.not_larger is None:
            return f"nothing: that takes {SMALL_FROM} seeds"
        return f"a true effect of {_ends(self.not_larger)}"


def at_text(at: At, kl_weights: int) -> str:
    """Where along its KL weights an endpoint lies, in words."""
    if at == MEAN:
        return f"mean over {kl_weights} KL weights" if kl_weights > 1 else "at its one KL weight"
    if at == SLOPE:
        return f"slope per doubling of the KL weight, over {kl_weights}"
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
    relatives: Sequence[Run] = (),
    sd: float | None = None,
) -> Decidable | None:
    """What a study's primary can decide; None where it has none.

    Args:
        study: As planned, with the seeds of its last look and all the looks that count for it: it
            may have been looked at with more seeds than it plans now.
        cells: Its planned cells.
        axes: Its grid's axes.
        relatives: Runs whose spread over seeds is expected here too, the nearest first: the first
            counts that has numbers of the same contrast at the same place, in any of its strata.
        sd: The spread to expect, where no relative has one.

    Raises:
        InputError: the study asks for what it doesn't have, or `sd` isn't a number above 0.
    """
    kind = record_of(study.kind)
    design = Design.of(cells, tuple(axes))
    expected = _expected_unit(kind, design)
    primary = resolved(study, kind, study.looks, expected).primary
    if primary is None:
        return None
    weights = {settings.get(kind.kl_weight or "") for settings in design.settings.values()}
    several = len(weights) > 1 and isinstance(primary.at, str)
    guess = GUESSED_SD_OF_SEVERAL if several else GUESSED_SD
    if expected != ATTAINMENT:
        guess *= SDS_PER_ATTAINMENT
    spread, source = _spread(primary, relatives, sd, guess, expected)
    judgement = resolved(study, kind, study.looks, expected)
    kept = [i for i, axis in enumerate(design.axes) if axis in other_axes(design, kind.kl_weight)]
    strata = len({tuple(point[i] for i in kept) for point in design.points})
    seeds = len(study.seeds)
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
        primary.contrast,
        primary.at,
        len(weights),
        strata,
        seeds,
        judgement.looks,
        margin,
        expected,
        level,
        spread,
        source,
        (
            detectable_effect(low, seeds, margin, level),
            detectable_effect(high, seeds, margin, level),
        ),
        small,
    )


def _expected_unit(kind: KindRecord, design: Design) -> str:
    """The unit that a study's rewards will have, as far as its settings tell."""
    known = all(kind.has_supremum(settings) for settings in design.settings.values())
    return ATTAINMENT if known else IN_SDS


def _spread(
    primary: PrimaryEndpoint,
    relatives: Sequence[Run],
    sd: float | None,
    guess: float,
    expected: str,
) -> tuple[tuple[float, float], str]:
    """The smallest and largest sd over seeds to expect, and where they come from.

    A relative whose rewards have another unit says nothing.
    """
    if sd is not None:
        if not 0 < sd < float("inf"):
            raise InputError(f"sd must be a number above 0, not {sd!r}")
        return (sd, sd), "as given"
    for relative in relatives[:MOST_READ]:
        try:
            found, unit = spreads(relative, primary)
        except InputError:  # a damaged run says nothing of a study that is planned
            continue
        if found and unit == expected:
            seeds = count_text(len(relative.study.seeds), "seed")
            source = f"as found in {relative.study.name} with {seeds}"
            return (min(found), max(found)), source
    return (guess, guess), "a guess: no relative has finished"


def spreads(run: Run, primary: PrimaryEndpoint) -> tuple[list[float], str]:
    """The sd over seeds of a primary endpoint in every stratum of a run that has numbers for it.

    With the unit that they are in.

    A run whose strata lack the primary's KL weight has none; a slope or a mean is over its own.
    """
    kind = record_of(run.study.kind)
    axes = tuple(run.axes)
    design = Design.of(run.planned(), axes)
    if not set(primary.contrast) <= set(design.orderings):
        return [], ATTAINMENT
    outcomes = cell_outcomes(run.table("metrics"), axes, kind.reward_supremum)
    samples = endpoint_samples(outcomes, design, kind.kl_weight, primary)
    found = [
        float(sample.values_N.std(ddof=1))
        for sample in samples.values()
        if sample.values_N is not None and len(sample.values_N) > 1
    ]
    return found, reward_unit(outcomes)
