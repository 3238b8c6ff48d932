"""What to do in one stratum: the rule's choice with its gain, its price, and its conditions.

Pure: evidence in, plain values out. The rule stands in `recommendation.choice`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import Any

import numpy as np

from recalltrap_analysis.estimates.candidates import StratumEvidence
from recalltrap_analysis.estimates.order_effect import KD_THEN_ALIGN
from recalltrap_analysis.recommendation.choice import (
    EITHER,
    UNDECIDED,
    Choice,
    Verdicts,
    choose,
    recall_within,
)
from recalltrap_analysis.recommendation.pair_verdicts import Difference, pair_verdicts
from recalltrap_analysis.recommendation.recommendation_text import (
    conditions,
    decided_sentence,
    missing,
    reasons,
    recall_words,
    undecided_sentence,
)
from recalltrap_analysis.statistics.student import ONE_SIDED


@dataclass(frozen=True)
class Recommendation:
    """What to do in one stratum, or over all of them; plain values, NaN and None where none.

    `ordering` is what the word stands for, and `kl_weight` the median over seeds of its own. Gain
    (in `unit`) and `recall_difference` are the ordering's minus those of `against`: K-A, or where
    that is chosen its strongest rival. The ratios are costs after p', the ordering's to those of
    `against`. `reasons` are the comparisons behind it, `conditions` under what it was seen,
    `missing` what would settle it; `warning` says where a scorer that wasn't optimised falls as
    reward rises, and stands at the end of the sentence. Over strata there are no numbers, as
    nothing is pooled.
    """

    word: str
    sentence: str
    stratum: Mapping[str, Any]
    ordering: str = ""
    kl_weight: Any = None
    against: str = ""
    comparison: str = ""
    gain: float = np.nan
    gain_low: float = np.nan
    gain_high: float = np.nan
    recall_difference: float = np.nan
    recall_difference_low: float = np.nan
    recall_difference_high: float = np.nan
    recall_words: str = ""
    flops_ratio: float = np.nan
    device_seconds_ratio: float = np.nan
    seeds: int = 0
    planned_seeds: int = 0
    kl_weights: tuple[Any, ...] = ()
    unit: str = ""
    margin: float = np.nan
    recall_budget: float = np.nan
    level: float = np.nan
    between: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    warning: str = ""

    def extended(self, more: str) -> Recommendation:
        """The same, its sentence followed by another."""
        return replace(self, sentence=f"{self.sentence} {more}")

    def warned(self, warning: str) -> Recommendation:
        """The same with a warning, which its sentence says too."""
        return replace(self.extended(warning), warning=warning) if warning else self

    def record(self) -> dict[str, Any]:
        """As JSON has it: null where there is no number; `warning` where there is one."""
        found = {name: _plain(value) for name, value in asdict(self).items()}
        return found if self.warning else {k: v for k, v in found.items() if k != "warning"}

    def _repr_html_(self) -> str:
        lists = [("Reasons", self.reasons), ("Seen", self.conditions), ("Missing", self.missing)]
        folded = "".join(
            f"<details><summary>{title}</summary><ul>"
            + "".join(f"<li>{escape(line)}</li>" for line in lines)
            + "</ul></details>"
            for title, lines in lists
            if lines
        )
        return f"<p><b>{escape(self.sentence)}</b></p>{folded}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def recommend(evidence: StratumEvidence, margin: float, level: float = ONE_SIDED) -> Recommendation:
    """What to do in one stratum.

    Args:
        evidence: Of `evidence_by_stratum`.
        margin: The largest difference that doesn't matter, in the unit of rewards.
        level: The one-sided level of every bound; smaller where the data are looked at repeatedly.
    """
    verdicts = pair_verdicts(evidence, margin, level)
    choice = choose(evidence, verdicts, margin, level)
    lines = missing(choice, margin, level)
    found = Recommendation(
        choice.word,
        undecided_sentence(choice, lines),
        dict(evidence.stratum),
        planned_seeds=max((len(one.seeds) for one in evidence.candidates), default=0),
        kl_weights=evidence.weights,
        unit=evidence.unit,
        margin=margin,
        recall_budget=evidence.recall_budget,
        level=level,
        between=choice.between,
        reasons=reasons(evidence, verdicts, choice, margin, level),
        conditions=conditions(evidence, verdicts, choice, margin),
        missing=lines,
    )
    if choice.word == UNDECIDED:
        return found
    return _with_numbers(found, evidence, verdicts, choice)


def _with_numbers(
    found: Recommendation, evidence: StratumEvidence, verdicts: Verdicts, choice: Choice
) -> Recommendation:
    """Gain, recall and cost of the chosen ordering against K-A, or against its strongest rival."""
    by_name = {one.ordering: one for one in evidence.candidates}
    chosen = by_name[choice.ordering]
    against = _against(chosen.ordering, verdicts)
    verdict = verdicts[chosen.ordering, against]
    recall = Difference()
    if not verdict.alone:  # else few seeds have both within the budget
        recall = recall_within(evidence, chosen.ordering, against, found.margin, found.level)
    found = replace(
        found,
        ordering=chosen.ordering,
        kl_weight=None if choice.word == EITHER else chosen.kl_weight,
        against=against,
        comparison=verdict.comparison,
        gain=verdict.difference.value,
        gain_low=verdict.difference.low,
        gain_high=verdict.difference.high,
        recall_difference=recall.value,
        recall_difference_low=recall.low,
        recall_difference_high=recall.high,
        recall_words=recall_words(recall, against, evidence.recall_unit),
        flops_ratio=_ratio(chosen.flops, by_name[against].flops),
        device_seconds_ratio=_ratio(chosen.device_seconds, by_name[against].device_seconds),
        seeds=verdict.difference.n,
    )
    ratio = found.flops_ratio if math.isfinite(found.flops_ratio) else found.device_seconds_ratio
    text = decided_sentence(choice, evidence, verdict, found.kl_weight, found.recall_words, ratio)
    return replace(found, sentence=text)


def _against(chosen: str, verdicts: Verdicts) -> str:
    """K-A; where that is chosen, the rival that comes nearest, of those that are compared."""
    rivals = [second for first, second in verdicts if first == chosen]
    if KD_THEN_ALIGN in rivals:
        return KD_THEN_ALIGN
    known = [name for name in rivals if math.isfinite(verdicts[chosen, name].difference.value)]
    return min(known or rivals, key=lambda name: verdicts[chosen, name].difference.value)


def _ratio(one: float, other: float) -> float:
    return one / other if other > 0 else np.nan
