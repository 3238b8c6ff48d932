"""Effects by scorers that nothing optimised, beside the reward's: a win may be reward hacking.

What is recommended rests on the reward; this only warns. Each contrast stands where the primary
endpoint does, and each ordering also beside p'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.attainment import IN_SDS
from recalltrap_analysis.estimates.contrasts import Contrast, contrast_name
from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.estimates.reward_recall import Curve, other_axes, reward_recall_curves
from recalltrap_analysis.number_format import setting_text
from recalltrap_analysis.recommendation.recommendation import Recommendation
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.statistics.margin import MARGIN_IN_SDS
from recalltrap_analysis.verdicts.judgement import MEAN, SLOPE, At, Judgement, PrimaryEndpoint
from recalltrap_analysis.verdicts.primary import (
    Sample,
    at_endpoint,
    endpoint_samples,
    judged,
    kl_weights,
    stratum_text,
)
from recalltrap_analysis.verdicts.scores import above_p_prime, score_unit, scored, scorers

REWARD = "reward"
P_PRIME = "p'"
NUMBERS = ("value", "low", "high", "lower", "upper", "margin")
COLUMNS = ("stratum", "contrast", "first", "second", "at", "judge", "unit", *NUMBERS, "n", "seeds",
           "words", "state")  # fmt: skip


def scorer_judgement(judgement: Judgement, scorer: str) -> Judgement:
    """By what scores are judged: the run's rules, with a margin in standard deviations."""
    margin = judgement.margin if judgement.unit == IN_SDS else MARGIN_IN_SDS
    return replace(judgement, margin=margin, unit=score_unit(scorer))


def scorer_effects(
    outcomes: pd.DataFrame, design: Design, kind: KindRecord, judgement: Judgement
) -> pd.DataFrame:
    """One row per contrast, stratum and judge: the reward, then every scorer.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        design: What was planned.
        kind: What the analysis knows of the study's kind.
        judgement: Of the run.

    Returns:
        The axes but the KL weight, and `COLUMNS`: `first` minus `second`, two orderings or an
        ordering and `p'`; `at` as the primary endpoint has it (the mean over the KL weights without
        one, and beside p' instead of a slope); `value` in `unit` with `low`, `high` (95 %) and
        `lower`, `upper` (one-sided 5 %), and `words` on `margin`, by Holm over the strata. Empty
        where no scorer judged.
    """
    names = scorers(outcomes)
    axes = other_axes(design, kind.kl_weight)
    judges = [(REWARD, outcomes, judgement)] if names else []
    judges += [(one, scored(outcomes, one), scorer_judgement(judgement, one)) for one in names]
    at: At = MEAN if judgement.primary is None else judgement.primary.at
    rows: list[dict[str, Any]] = []
    for judge, frame, rules in judges:
        for contrast, where, samples in _samples(frame, design, kind, judgement, at):
            for stratum, found in judged(samples, rules).items():
                rows.append(
                    dict(zip(axes, stratum, strict=True))
                    | {"stratum": stratum_text(stratum, axes), "contrast": contrast_name(contrast),
                       "first": contrast[0], "second": contrast[1], "at": where, "judge": judge,
                       "unit": rules.unit, "margin": rules.margin}
                    | {name: found[name] for name in found if name in COLUMNS}
                )  # fmt: skip
    table = pd.DataFrame.from_records(rows, columns=[*axes, *COLUMNS])
    return table.astype(dict.fromkeys(NUMBERS, float) | {"n": int, "seeds": int})


def _samples(
    outcomes: pd.DataFrame, design: Design, kind: KindRecord, judgement: Judgement, at: At
) -> Iterator[tuple[Contrast, At, Mapping[GridPoint, Sample]]]:
    """The values by stratum of every contrast, the primary one first, and of each beside p'."""
    primary = [] if judgement.primary is None else [judgement.primary.contrast]
    for contrast in dict.fromkeys([*primary, *judgement.contrasts]):
        endpoint = PrimaryEndpoint(contrast, at)
        yield contrast, at, endpoint_samples(outcomes, design, kind.kl_weight, endpoint)
    curves = reward_recall_curves(above_p_prime(outcomes), design, kind.kl_weight)
    where: At = MEAN if at == SLOPE else at
    compared = {name for contrast in [*primary, *judgement.contrasts] for name in contrast}
    for ordering in (name for name in design.orderings if name in compared):
        mine = {stratum: curve for (stratum, name), curve in curves.items() if name == ordering}
        samples = {
            stratum: _gain(curve, kl_weights(design, curve.points, kind.kl_weight), where)
            for stratum, curve in mine.items()
        }
        yield (ordering, P_PRIME), where, samples


def _gain(curve: Curve, weights: Sequence[float | None], at: At) -> Sample:
    """An ordering's level over p' in every seed, at the endpoint."""
    n = len(curve.seeds)
    if not isinstance(at, str) and at not in weights:
        return Sample(None, f"no KL weight {at:g} here", n)
    values_N = at_endpoint(curve.attainment, weights, at)
    if lacking := int((~np.isfinite(values_N)).sum()):
        return Sample(None, f"incomplete: {lacking} of {n} seeds have no value", n)
    return Sample(values_N, COMPLETE, n)


def suspects(table: pd.DataFrame) -> pd.DataFrame:
    """Where more reward goes with a lower score, each clear of 0 by its one-sided 5 % bound.

    Args:
        table: As `scorer_effects` returns it.

    Returns:
        The scorers' rows, turned so that `first` has more reward and the lower score.
    """
    signs = np.where(table["lower"] > 0, 1, np.where(table["upper"] < 0, -1, 0))
    table = table.assign(sign=signs)
    of_reward = table[table["judge"] == REWARD].set_index(["stratum", "contrast"])["sign"]
    rows = []
    for row in table[table["judge"] != REWARD].to_dict("records"):
        reward = int(of_reward.loc[row["stratum"], row["contrast"]])
        if reward * row["sign"] != -1 or (reward < 0 and row["second"] == P_PRIME):
            continue
        if reward < 0:
            row["first"], row["second"] = row["second"], row["first"]
            row["contrast"] = contrast_name((row["first"], row["second"]))
            row["value"], row["low"], row["high"] = -row["value"], -row["high"], -row["low"]
        rows.append(row)
    return pd.DataFrame(rows, columns=[*table.columns])


def hacking_warning(found: pd.DataFrame, strata: int = 1) -> str:
    """One sentence on what `suspects` returns; empty where it is.

    Args:
        found: Rows of `suspects`.
        strata: How many there are, where the rows are of several.
    """
    if found.empty:
        return ""
    texts = []
    for scorer, rows in found.groupby("judge", sort=False):
        counts = rows.groupby("contrast", sort=False)["stratum"].nunique()
        listed = [
            str(contrast) if count == strata else f"{contrast} (in {count} of {strata} strata)"
            for contrast, count in counts.items()
        ]
        texts.append(f"{scorer} falls where reward rises in {', '.join(listed)}")
    return f"Possible reward hacking, since {' and '.join(texts)}."


def with_warnings(
    found: Sequence[Recommendation], overall: Recommendation, suspected: pd.DataFrame
) -> tuple[list[Recommendation], Recommendation]:
    """The same recommendations, warned of reward hacking where that is possible.

    What is chosen stays, for it rests on the reward. A decided stratum is warned of what its own
    ordering may have done, an open one of any.

    Args:
        found: By stratum.
        overall: Over them.
        suspected: Rows of `suspects`.
    """
    warned, kept = [], [suspected.iloc[:0]]
    for one in found:
        stratum = stratum_text(tuple(one.stratum.values()), tuple(one.stratum))
        mine = suspected[suspected["stratum"] == stratum]
        if one.ordering:
            mine = mine[mine["first"] == one.ordering]
        kept.append(mine)
        warned.append(one.warned(hacking_warning(mine)))
    if len(warned) == 1:
        return warned, warned[0]
    return warned, overall.warned(hacking_warning(pd.concat(kept), max(1, len(warned))))


def at_words(at: At) -> str:
    """Where along its KL weights an effect lies, in words."""
    if at == MEAN:
        return "mean over the KL weights"
    return "per doubling of the KL weight" if at == SLOPE else f"KL weight {setting_text(at)}"
