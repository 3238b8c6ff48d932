"""The primary endpoint: one answer per stratum, adjusted for the strata and for every look.

First the primary contrast, then, where that is decided, the anchor part, each at 5 % (fixed
sequence). Strata share the risk by Holm; nothing pools them. Shapes: N seeds, W KL weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recalltrap_analysis.estimates.contrasts import DIFFERENCE, Contrast, contrast_name, unpaired
from recalltrap_analysis.estimates.experiment import ORDER_EFFECT, TITLES
from recalltrap_analysis.estimates.order_effect import (
    ALIGN_THEN_KD,
    ANCHORED_TO_P_PRIME,
    COMPLETE,
    KD_THEN_ALIGN,
)
from recalltrap_analysis.estimates.reward_recall import Curve, other_axes, reward_recall_curves
from recalltrap_analysis.number_format import point_text, share_text
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.kind_record import KindRecord, record_of
from recalltrap_analysis.runs.protocol import Run
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.margin import (
    LARGER,
    SMALL_FROM,
    SMALLER,
    UNDECIDED,
    Decisions,
    decision_words,
    not_seen,
)
from recalltrap_analysis.statistics.paired import Array, holm
from recalltrap_analysis.statistics.power import seeds_needed
from recalltrap_analysis.statistics.student import (
    one_sided_bounds,
    p_larger,
    p_not_larger,
    p_not_smaller,
    p_smaller,
    student_interval,
)
from recalltrap_analysis.statistics.two_way import TwoWayMean, two_way_mean, two_way_possible
from recalltrap_analysis.verdicts.judgement import (
    MEAN,
    SLOPE,
    At,
    Judgement,
    PrimaryEndpoint,
    judgement_of,
)

ANCHOR = "anchor"
ONLY_STRATUM = "the only stratum"
ANCHOR_CONTRAST: Contrast = (ANCHORED_TO_P_PRIME, KD_THEN_ALIGN)
TESTS: Mapping[str, Callable[[npt.ArrayLike, float], float]] = {
    "larger": p_larger,
    "smaller": p_smaller,
    "not_larger": p_not_larger,
    "not_smaller": p_not_smaller,
}
NUMBERS = ("value", "low", "high", "lower", "upper", *(f"p_{name}" for name in TESTS), "level",
           "sd")  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One endpoint in one stratum: a value per seed, or none and the reason."""

    values_N: Array | None
    state: str
    seeds: int
    values_NP: Array | None = None
    """The same for every held-out prompt, where those are a sample beside the seeds."""

    @property
    def two_way(self) -> TwoWayMean | None:
        """The mean over seeds × prompts, where that can be told."""
        if self.values_NP is None or not two_way_possible(self.values_NP):
            return None
        return two_way_mean(self.values_NP)

    def p_value(self, name: str, margin: float) -> float:
        """Of the one-sided test of this name, see `TESTS`; NaN without numbers."""
        mean = self.two_way
        if mean is not None:
            return mean.p_values(margin)[name]
        return np.nan if self.values_N is None else TESTS[name](self.values_N, margin)


def primary_table(
    outcomes: pd.DataFrame, design: Design, kind: KindRecord, judgement: Judgement
) -> pd.DataFrame:
    """One row per stratum and endpoint.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        design: What was planned.
        kind: What the analysis knows of the study's kind.
        judgement: Of the run.

    Returns:
        The axes but the KL weight, `stratum` (in words), `endpoint` (`order effect` for A-K − K-A,
        `difference` for another primary contrast; then `anchor`), `contrast`, `at`, `value` with
        `low`, `high` (95 %) and `lower`, `upper` (one-sided 5 %, adjusted for nothing),
        `p_larger`, `p_smaller`, `p_not_larger`, `p_not_smaller` (one-sided, on the margin, by Holm
        over all strata planned), `level` (what they are compared with at each look), `sd`, `n`
        seeds behind it of `seeds` planned, `words`, `state` (`complete`, or why there are no
        numbers) and `more_seeds` (what would settle it, where it is open); `method` where any
        interval is over seeds × prompts. Empty without a primary.
    """
    axes = other_axes(design, kind.kl_weight)
    columns = [*axes, "stratum", "endpoint", "contrast", "at", *NUMBERS, "n", "seeds", "words",
               "state", "more_seeds"]  # fmt: skip
    two_way = False
    rows: list[dict[str, Any]] = []
    first_words: dict[GridPoint, str] = {}
    strata: list[GridPoint] = []
    for name, endpoint in endpoints(judgement, design):
        samples = endpoint_samples(outcomes, design, kind.kl_weight, endpoint)
        for stratum, row in judged(samples, judgement).items():
            two_way |= samples[stratum].two_way is not None
            row["more_seeds"] = more_seeds(row, judgement, len(samples))
            if name == ANCHOR:
                row |= _after(first_words[stratum], row)
            else:
                first_words[stratum] = row["words"]
            strata.append(stratum)
            rows.append(
                dict(zip(axes, stratum, strict=True))
                | {
                    "stratum": stratum_text(stratum, axes),
                    "endpoint": name,
                    "contrast": contrast_name(endpoint.contrast),
                    "at": endpoint.at,
                }
                | row
            )
    columns += ["method"] if two_way else []
    table = pd.DataFrame.from_records(rows, columns=columns)
    table = table.astype(dict.fromkeys(NUMBERS, float) | {"n": int, "seeds": int})
    for axis in axes:  # a null among numbers would become NaN, which is no stratum's
        table[axis] = pd.Series([row[axis] for row in rows], dtype=object)
    order = {stratum: place for place, stratum in enumerate(first_words)}
    places = np.argsort([order[stratum] for stratum in strata], kind="stable")
    return table.iloc[places.astype(int)].reset_index(drop=True)


def endpoints(judgement: Judgement, design: Design) -> list[tuple[str, PrimaryEndpoint]]:
    """The fixed sequence: the primary, then the anchor part at the same place if it has one."""
    primary = judgement.primary
    if primary is None:
        return []
    contrast = primary.contrast
    usual = contrast == (ALIGN_THEN_KD, KD_THEN_ALIGN)
    found = [(TITLES[ORDER_EFFECT] if usual else DIFFERENCE, primary)]
    anchored = set(ANCHOR_CONTRAST) <= set(design.orderings)
    if anchored and KD_THEN_ALIGN in contrast and set(contrast) != set(ANCHOR_CONTRAST):
        found.append((ANCHOR, PrimaryEndpoint(ANCHOR_CONTRAST, primary.at)))
    return found


def endpoint_samples(
    outcomes: pd.DataFrame,
    design: Design,
    kl_weight: str | None,
    endpoint: PrimaryEndpoint,
) -> dict[GridPoint, Sample]:
    """An endpoint's value of every seed, by stratum."""
    contrast, at = endpoint.contrast, endpoint.at
    curves = reward_recall_curves(outcomes, design, kl_weight)
    found = {}
    for stratum in dict.fromkeys(stratum for stratum, _ in curves):
        first, second = (curves.get((stratum, name)) for name in contrast)
        if first is None or second is None:
            lacks = contrast[0] if first is None else contrast[1]
            found[stratum] = Sample(None, f"not planned here: {lacks}", 0)
        elif apart := unpaired(first, second):
            found[stratum] = Sample(None, apart, len(first.seeds))
        else:
            weights = kl_weights(design, first.points, kl_weight)
            found[stratum] = _sample(first, second, at, weights)
    return found


def kl_weights(
    design: Design, points: Sequence[GridPoint], kl_weight: str | None
) -> list[float | None]:
    """The KL weight of each grid point, be it an axis or a setting of the whole study."""
    if kl_weight is None:
        return [None] * len(points)
    values = [design.settings.get(point, {}).get(kl_weight) for point in points]
    return [None if value is None else float(value) for value in values]


def stratum_text(stratum: GridPoint, axes: Sequence[str]) -> str:
    """A stratum in words, as the primary's table has it."""
    return point_text(stratum, axes) if axes else ONLY_STRATUM


def at_endpoint(values_NW: Array, weights: Sequence[float | None], at: At) -> Array:
    """Each seed's value of a series over the KL weights, where the endpoint lies; shape [N].

    NaN where the series has nothing there.
    """
    nothing_N = np.full(len(values_NW), np.nan)
    if at == SLOPE:
        return nothing_N if len(set(weights)) < 2 else slope_per_doubling(values_NW, weights)
    if not isinstance(at, str):
        here = [place for place, weight in enumerate(weights) if weight == at]
        return values_NW[:, here].mean(axis=1) if here else nothing_N
    assert at == MEAN
    return np.asarray(values_NW.mean(axis=1), dtype=float)


def _sample(first: Curve, second: Curve, at: At, weights: Sequence[float | None]) -> Sample:
    n = len(first.seeds)
    if not isinstance(at, str) and at not in weights:
        return Sample(None, f"no KL weight {at:g} here", n)
    if at == SLOPE and len(set(weights)) < 2:
        return Sample(None, "one KL weight has no slope", n)
    values_N = at_endpoint(first.attainment - second.attainment, weights, at)
    if lacking := int((~np.isfinite(values_N)).sum()):
        return Sample(None, f"incomplete: {lacking} of {n} seeds lack a value of both", n)
    return Sample(
        values_N, COMPLETE, n, _by_prompt(first.by_prompt - second.by_prompt, weights, at)
    )


def _by_prompt(values_NWP: Array, weights: Sequence[float | None], at: At) -> Array | None:
    """Each seed's value at every prompt where the endpoint lies; [N, P], None without any."""
    seeds, kl_values, prompts = values_NWP.shape
    if not prompts:
        return None
    flat = np.moveaxis(values_NWP, 1, 2).reshape(seeds * prompts, kl_values)
    return at_endpoint(flat, weights, at).reshape(seeds, prompts)


def slope_per_doubling(values_NW: Array, weights: Sequence[float | None]) -> Array:
    """Each seed's least-squares slope over the logarithm to base 2 of the KL weight; shape [N].

    Raises:
        ValueError: fewer than two different weights, or one that is not above 0.
    """
    weights_W = np.array([np.nan if weight is None else weight for weight in weights])
    if not (weights_W > 0).all() or np.ptp(weights_W) == 0:
        raise ValueError("a slope per doubling needs two KL weights above 0")
    centred_W = np.log2(weights_W) - np.log2(weights_W).mean()
    return np.asarray(values_NW @ centred_W / (centred_W**2).sum(), dtype=float)


def judged(
    samples: Mapping[GridPoint, Sample], judgement: Judgement
) -> dict[GridPoint, dict[str, Any]]:
    """Numbers and words of every sample, by Holm over them: strata, or grid points."""
    level = nominal_level(judgement.looks, tests=max(1, len(samples)))
    adjusted = {name: _adjusted(name, samples, judgement.margin) for name in TESTS}
    found = {}
    for stratum, sample in samples.items():
        row: dict[str, Any] = dict.fromkeys(NUMBERS, np.nan)
        row |= {"level": level, "n": 0, "seeds": sample.seeds, "state": sample.state}
        row |= {"method": "", "prompt_share": 0.0}
        row["words"] = ""
        if sample.values_N is not None:
            mean = sample.two_way
            estimate = student_interval(sample.values_N) if mean is None else mean.interval()
            lower, upper = one_sided_bounds(estimate) if mean is None else mean.bounds()
            p = {name: values[stratum] for name, values in adjusted.items()}
            row |= {"value": estimate.value, "low": estimate.low, "high": estimate.high,
                    "lower": lower, "upper": upper, "n": estimate.n, "method": estimate.method,
                    "prompt_share": 0.0 if mean is None else mean.prompt_share}  # fmt: skip
            row |= {f"p_{name}": value for name, value in p.items()}
            if estimate.n > 1:
                row["sd"] = float(sample.values_N.std(ddof=1))
            # One seed's p-values are none, and decide nothing.
            decisions = Decisions(**{name: value <= level for name, value in p.items()})
            row["words"] = decision_words(decisions, estimate.n)
        found[stratum] = row
    return found


def _adjusted(
    test: str,
    samples: Mapping[GridPoint, Sample],
    margin: float,
) -> dict[GridPoint, float]:
    """p-values by Holm over all strata, NaN where there is none.

    A stratum without numbers, or with one seed, still counts: what it turns out to be mustn't
    change what was said of the others.
    """
    p = {stratum: sample.p_value(test, margin) for stratum, sample in samples.items()}
    if not p:
        return {}
    raw = np.array(list(p.values()))
    adjusted = holm(np.where(np.isnan(raw), 1.0, raw))
    return dict(zip(p, np.where(np.isnan(raw), np.nan, adjusted).tolist(), strict=True))


def more_seeds(row: Mapping[str, Any], judgement: Judgement, strata: int) -> str:
    """What would settle an open stratum, were its true effect the one found; else empty.

    Args:
        row: Of `judged`.
        judgement: Of the run.
        strata: How many share the risk.
    """
    n = int(row["n"])
    if row["words"] not in (UNDECIDED, not_seen(n)):
        return ""
    if n < 2:
        return "not known: one seed has no spread"
    if row["prompt_share"] > 0.5:
        share = share_text(row["prompt_share"], 0)
        return f"takes more held-out prompts, which carry {share} of the uncertainty"
    # One more look, where there are twice the seeds, and the strictest of Holm's steps.
    looks = (*judgement.looks, n, 2 * n)
    needed = seeds_needed(
        row["value"],
        row["sd"],
        n,
        judgement.margin,
        nominal_level(looks, tests=strata) / strata,
        least=2 if row["value"] > judgement.margin else SMALL_FROM,
    )
    return needed.more_text(n)


def _after(before: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What changes in the second endpoint's row where the first isn't decided."""
    if before in (LARGER, SMALLER) or not row["words"]:
        return {}
    said = f"is {before}" if before else "has no numbers"
    if before.startswith("not seen"):
        said = f"was {before}"
    nothing = dict.fromkeys((f"p_{name}" for name in TESTS), np.nan)
    return {**nothing, "words": f"not tested: the first comparison {said}", "more_seeds": ""}


def undecided_strata(results: Run) -> list[str]:
    """The strata in which more seeds may decide a run's primary contrast, in words.

    One without numbers isn't among them, for the seed that it lacks stays lacking; none is without
    a primary.
    """
    kind = record_of(results.study.kind)
    axes = tuple(results.axes)
    design = Design.of(results.planned(), axes)
    outcomes = cell_outcomes(results.table("metrics"), axes, kind.reward_supremum)
    table = primary_table(outcomes, design, kind, judgement_of(results, kind, outcomes))
    first = table[table["endpoint"] != ANCHOR]
    rows = zip(first["stratum"], first["words"], first["n"], strict=True)
    return [str(stratum) for stratum, words, n in rows if words in (UNDECIDED, not_seen(n))]
