"""The rule of what to do: the cheapest ordering that no other one beats by more than the margin.

Judged within the recall budget, each ordering at its own KL weight, or at equal recall. It needs
shown differences on both sides: that nothing beats the ordering, and that everything cheaper is
worse. A best mean alone decides nothing. Pure: evidence in, plain values out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recalltrap_analysis.estimates.candidates import Candidate, StratumEvidence
from recalltrap_analysis.estimates.order_effect import (
    ALIGN_THEN_KD,
    ANCHORED_TO_P_PRIME,
    COMPLETE,
    KD_THEN_ALIGN,
)
from recalltrap_analysis.recommendation.pair_verdicts import (
    Difference,
    PairVerdict,
    difference_of,
    flipped,
)
from recalltrap_analysis.statistics.margin import LARGER, WITHIN

ALIGN_FIRST, DISTIL_FIRST, EITHER = "align first", "distil first", "either"
KEEP_P_PRIME, LOWER_KL_WEIGHT = "keep p' as the reference", "lower the KL weight"
UNDECIDED = "undecided"
WORDS = {
    KD_THEN_ALIGN: DISTIL_FIRST,
    ALIGN_THEN_KD: ALIGN_FIRST,
    ANCHORED_TO_P_PRIME: KEEP_P_PRIME,
}
"""What choosing an ordering is called; any other by its own name."""
SAME_COST = 0.1
"""Orderings whose costs differ by no more than this share cost the same."""

Verdicts = Mapping[tuple[str, str], PairVerdict]


@dataclass(frozen=True)
class Choice:
    """What the rule finds in one stratum: a word, its ordering, and what keeps it undecided.

    `between`: the orderings that are still open where it is undecided, the cheapest first.
    `unresolved`: the pairs to settle. `missing`: everything else that is, in words.
    """

    word: str
    ordering: str = ""
    between: tuple[str, ...] = ()
    unresolved: tuple[PairVerdict, ...] = ()
    missing: tuple[str, ...] = ()


def choose(evidence: StratumEvidence, verdicts: Verdicts, margin: float, level: float) -> Choice:
    """The rule.

    An ordering is *good enough* where every other one is shown not to beat it by more than the
    margin (from eight seeds on), or to be worse. The cheapest such is chosen if everything cheaper
    is shown worse by more than the margin, and no two of its comparisons deny each other.
    """
    usable = [one for one in evidence.candidates if one.state == COMPLETE]
    if lacks := _lacking(evidence, usable):
        return Choice(UNDECIDED, missing=tuple(lacks))
    by_name = {one.ordering: one for one in usable}
    spent = costs_of(usable)
    names = sorted(by_name, key=lambda name: spent.get(name, 0.0))  # stable: K-A first
    good = [
        name
        for name in names
        if all(verdicts[other, name].first_is_no_better for other in names if other != name)
    ]
    rivals = _either(good, names, spent, verdicts)
    if rivals:
        chosen, settled = rivals[0], rivals
    elif good:
        chosen, settled = good[0], good[:1]
    else:
        return _open(names, verdicts)
    cheaper = [
        name for name in names
        if name not in settled and (not spent or spent[name] < min(spent[one] for one in settled))
    ]  # fmt: skip
    blocking = [
        name for name in cheaper
        if not any(verdicts[one, name].first_is_better for one in settled)
    ]  # fmt: skip
    if blocking:
        between = tuple(name for name in names if name in settled or name in blocking)
        unresolved = [
            one for name in blocking for one in _in_the_way(chosen, name, names, verdicts)
        ]
        why = () if spent else ("which of them costs less isn't known",)
        return Choice(UNDECIDED, chosen, between, tuple(unresolved), why)
    denied = [
        f"{one.first} − {one.second}: {one.contradiction}"
        for one in (verdicts[chosen, name] for name in names if name != chosen)
        if one.contradiction
    ]
    if denied:
        return Choice(UNDECIDED, chosen, missing=tuple(denied))
    if unpriced := _unpriced_lead(evidence, chosen, verdicts, margin, level):
        return Choice(UNDECIDED, chosen, missing=(unpriced,))
    if rivals:
        return Choice(EITHER, chosen)
    if chosen == KD_THEN_ALIGN and _lead_is_of_the_weight(evidence, by_name, margin, level):
        return Choice(LOWER_KL_WEIGHT, chosen)
    return Choice(WORDS.get(chosen, chosen), chosen)


def _lacking(evidence: StratumEvidence, usable: Sequence[Candidate]) -> list[str]:
    """Why nothing can be chosen."""
    if not evidence.candidates:
        return ["no ordering of the study aligns and ends with a compact model"]
    if len(evidence.candidates) == 1:
        only = evidence.candidates[0].ordering
        return [f"{only} alone aligns and ends with a compact model: there is nothing to compare"]
    if evidence.lacks:
        return list(evidence.lacks)
    unknown = [one for one in evidence.candidates if one.state != COMPLETE]
    needed = [one for one in unknown if one.ordering in (KD_THEN_ALIGN, ALIGN_THEN_KD)]
    if needed or len(usable) < 2:
        return [f"{one.ordering}: {one.state}" for one in unknown]
    return []


def costs_of(candidates: Sequence[Candidate]) -> dict[str, float]:
    """What each ordering costs after p': FLOPs, else device seconds; empty unless known of all."""
    for measure in ("flops", "device_seconds"):
        spent = {one.ordering: float(getattr(one, measure)) for one in candidates}
        if all(math.isfinite(amount) and amount > 0 for amount in spent.values()):
            return spent
    return {}


def _either(
    good: Sequence[str], names: Sequence[str], spent: Mapping[str, float], verdicts: Verdicts
) -> list[str]:
    """K-A and A-K, where they are as good as each other, cost the same and would be chosen."""
    pair = [name for name in names if name in (KD_THEN_ALIGN, ALIGN_THEN_KD)]
    if len(pair) < 2 or not set(pair) <= set(good):
        return []
    if verdicts[pair[0], pair[1]].difference.words != WITHIN:
        return []
    if not spent:
        return pair
    if abs(spent[ALIGN_THEN_KD] / spent[KD_THEN_ALIGN] - 1) > SAME_COST:
        return []
    return pair if good[0] in pair else []


def _in_the_way(
    chosen: str, cheaper: str, names: Sequence[str], verdicts: Verdicts
) -> list[PairVerdict]:
    """The pairs that keep a cheaper ordering from being shown worse, or from being chosen."""
    against = verdicts[chosen, cheaper]
    if not against.first_is_no_better:
        return [against]
    # As good as the chosen one: what keeps it from being chosen is some other.
    others = [verdicts[name, cheaper] for name in names if name != cheaper]
    return [one for one in others if _unresolved(one)] or [against]


def _unresolved(one: PairVerdict) -> bool:
    return not (one.first_is_better or one.first_is_no_better)


def _open(names: Sequence[str], verdicts: Verdicts) -> Choice:
    """Undecided: the orderings that nothing is shown to beat, and the pairs that tell nothing."""
    between = [
        name for name in names
        if not any(verdicts[other, name].first_is_better for other in names if other != name)
    ]  # fmt: skip
    unresolved = [
        verdicts[dear, cheap]
        for i, cheap in enumerate(names)
        for dear in names[i + 1 :]
        if _unresolved(verdicts[dear, cheap])
    ]
    among = [one for one in unresolved if {one.first, one.second} <= set(between)]
    missing = () if unresolved else ("each ordering is beaten by another one: they go round",)
    return Choice(UNDECIDED, "", tuple(between), tuple(among or unresolved), missing)


def _unpriced_lead(
    evidence: StratumEvidence, chosen: str, verdicts: Verdicts, margin: float, level: float
) -> str:
    """With one KL weight: the ordering whose lead in reward costs too much recall, in words."""
    if len(evidence.weights) > 1:
        return ""
    for other in (one.ordering for one in evidence.candidates):
        verdict = verdicts.get((chosen, other))
        if verdict is None or verdict.keeps != chosen:
            continue
        if at_equal_weight(evidence, other, chosen, margin, level).words == LARGER:
            return (
                f"{other} has more reward than {chosen} and loses more recall than the budget: "
                "with one KL weight nobody can say what either would have at the other's recall; "
                "run more KL weights"
            )
    return ""


def _lead_is_of_the_weight(
    evidence: StratumEvidence, candidates: Mapping[str, Candidate], margin: float, level: float
) -> bool:
    """Whether A-K leads at equal KL weight, and K-A's own weight is below the largest."""
    own = candidates[KD_THEN_ALIGN].kl_weight
    if ALIGN_THEN_KD not in candidates or own is None or own >= max(evidence.weights):
        return False
    found = at_equal_weight(evidence, ALIGN_THEN_KD, KD_THEN_ALIGN, margin, level)
    return found.words == LARGER


def at_equal_weight(
    evidence: StratumEvidence, first: str, second: str, margin: float, level: float
) -> Difference:
    """The first minus the second at equal KL weight, the mean over the grid's weights."""
    return _signed(evidence, "equal_weight_N", first, second, margin, level)


def at_equal_recall(
    evidence: StratumEvidence, first: str, second: str, margin: float, level: float
) -> Difference:
    """The first minus the second at equal recall, interpolated, the mean over points."""
    return _signed(evidence, "equal_recall_N", first, second, margin, level)


def recall_within(
    evidence: StratumEvidence, first: str, second: str, margin: float, level: float
) -> Difference:
    """Recall of the first minus that of the second, both at their best within the budget."""
    return _signed(evidence, "recall_N", first, second, margin, level)


def _signed(
    evidence: StratumEvidence, name: str, first: str, second: str, margin: float, level: float
) -> Difference:
    """A pair's differences, whichever way round they stand."""
    for pair in evidence.pairs:
        if (pair.first, pair.second) == (first, second):
            return difference_of(pair, name, margin, level)
        if (pair.first, pair.second) == (second, first):
            return flipped(difference_of(pair, name, margin, level))
    return Difference()
