"""A recommendation in sentences: what to do, why, under what conditions, and what is missing.

Whoever reads them has seen no table. Nothing is decided here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from recalltrap_analysis.estimates.attainment import ATTAINMENT
from recalltrap_analysis.estimates.candidates import Candidate, StratumEvidence
from recalltrap_analysis.estimates.contrasts import EQUAL_RECALL, WITHIN_BUDGET, contrast_name
from recalltrap_analysis.estimates.order_effect import (
    ALIGN_THEN_KD,
    ANCHORED_TO_P_PRIME,
    COMPLETE,
    KD_THEN_ALIGN,
)
from recalltrap_analysis.number_format import (
    count_text,
    decimal_text,
    interval_text,
    setting_text,
    share_text,
)
from recalltrap_analysis.recommendation.choice import (
    ALIGN_FIRST,
    DISTIL_FIRST,
    EITHER,
    KEEP_P_PRIME,
    LOWER_KL_WEIGHT,
    UNDECIDED,
    Choice,
    Verdicts,
    at_equal_recall,
    at_equal_weight,
    costs_of,
)
from recalltrap_analysis.recommendation.pair_verdicts import (
    Difference,
    PairVerdict,
    difference_of,
)
from recalltrap_analysis.statistics.margin import LARGER, SMALL_FROM
from recalltrap_analysis.statistics.power import seeds_needed

MOST_LINES = 2
"""Of a sentence, what keeps it undecided; the page has all of them."""
COMPARED = {
    WITHIN_BUDGET: "within the recall budget",
    EQUAL_RECALL: "at equal recall, mean over the KL weights",
}
PLAIN = {
    ALIGN_FIRST: "Align first",
    DISTIL_FIRST: "Distil first",
    KEEP_P_PRIME: "Distil first and keep p' as the reference of the alignment",
}


def decided_sentence(
    choice: Choice,
    evidence: StratumEvidence,
    verdict: PairVerdict,
    kl_weight: object,
    recall: str,
    cost_ratio: float,
) -> str:
    """What to do, what it gains, what it costs.

    Args:
        choice: Of the rule, decided.
        evidence: What it was decided from.
        verdict: The chosen ordering against the one that it is told apart from.
        kl_weight: The chosen ordering's own.
        recall: Of `recall_words`.
        cost_ratio: Of costs after p', chosen to other; NaN where they aren't known.
    """
    weight = "" if kl_weight is None else setting_text(kl_weight)
    at = f" at a KL weight of {weight}" if weight else ""
    if choice.word == LOWER_KL_WEIGHT:
        head = f"Lower K-A's KL weight to {weight}"
    elif choice.word == EITHER:
        head = "Either order will do"
    else:
        known = PLAIN.get(choice.word)
        head = f"{known} ({choice.ordering}{at})" if known else f"Use {choice.ordering}{at}"
    parts = [f"{head}: {_gain(verdict, choice, evidence.unit)}"]
    if recall:
        parts.append(recall)
    if verdict.comparison == EQUAL_RECALL:
        counts = "; ".join(map(_kept, evidence.candidates))
        parts.append(f"too few seeds keep the recall budget to judge by it ({counts})")
    if verdict.keeps == choice.ordering and verdict.comparison == WITHIN_BUDGET:
        both = [
            one for one in evidence.candidates if one.ordering in (verdict.first, verdict.second)
        ]
        parts.append(f"it keeps that budget in more seeds ({'; '.join(map(_kept, both))})")
    if choice.word == LOWER_KL_WEIGHT:
        parts.append(
            f"{ALIGN_THEN_KD}'s lead at equal KL weight is one of the weight, not of the ordering"
        )
    if math.isfinite(cost_ratio):
        parts.append(
            f"{choice.ordering} costs {decimal_text(cost_ratio)} times what {verdict.second} does "
            "after p'"
        )
    if len(evidence.weights) == 1:
        parts.append("this holds at the one KL weight tried" + (f", {weight}" if weight else ""))
    return "; ".join(parts) + "."


def _gain(verdict: PairVerdict, choice: Choice, unit: str) -> str:
    if verdict.alone:
        return f"{verdict.second} has no model within the recall budget in most seeds"
    found, where = verdict.difference, COMPARED[verdict.comparison]
    seeds = f"{where} ({count_text(found.n, 'seed')})"
    if choice.word == EITHER:
        name = contrast_name((verdict.first, verdict.second))
        return f"{name} is {_interval(found)} {unit} {seeds}"
    verb, more = ("attains", "more") if unit == ATTAINMENT else ("reaches", f"{unit} more")
    if found.value >= 0:
        return f"{verdict.first} {verb} {_interval(found)} {more} than {verdict.second} {seeds}"
    interval = interval_text(-found.value, -found.high, -found.low)
    return f"{verdict.second} {verb} {interval} {more} {seeds}, which isn't more than the margin"


def undecided_sentence(choice: Choice, lines: Sequence[str]) -> str:
    """What is still open, and what would settle it: `lines` of `missing`."""
    names = choice.between
    between = f" between {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else ""
    shown = list(lines[:MOST_LINES]) if len(lines) > MOST_LINES + 1 else list(lines)
    if len(shown) < len(lines):
        shown.append(f"and {len(lines) - len(shown)} more such comparisons")
    return f"Undecided{between}: {'; '.join(shown)}."


def recall_words(found: Difference, against: str, unit: str) -> str:
    """A difference of recall, chosen minus the other, in plain words; empty without one.

    Recall is a mean of log-likelihoods, so e to the difference is a ratio of geometric means.

    Args:
        found: The difference with its interval.
        against: The ordering compared with.
        unit: Of recall; what is likely is one token where it is per token.
    """
    if not math.isfinite(found.value):
        return ""
    of = "a token of p*'s texts" if "per token" in unit else "a held-out sample of p*"
    size = interval_text(abs(found.value), *_sizes(found))
    sure = found.low > 0 or found.high < 0
    if not sure:
        interval = _interval(found)
        return f"no sure difference in overall recall from {against} ({interval} {unit})"
    ratio = math.exp(found.value)
    if found.value < 0:
        return (
            f"it costs {size} {unit} of overall recall: on average its likelihood of {of} falls to "
            f"{share_text(ratio)} of {against}'s"
        )
    return (
        f"it keeps {size} {unit} more of overall recall: on average its likelihood of {of} is "
        f"{decimal_text(ratio)} times {against}'s"
    )


def _sizes(found: Difference) -> tuple[float, float]:
    return (found.low, found.high) if found.value >= 0 else (-found.high, -found.low)


def verdict_line(verdict: PairVerdict, candidates: dict[str, Candidate]) -> str:
    """One comparison, e.g. ``A-K − K-A within the recall budget: 0.12 [0.05, 0.19] (20 seeds),
    larger than the margin``."""
    name = contrast_name((verdict.first, verdict.second))
    if verdict.alone:
        counts = "; ".join(_kept(candidates[one]) for one in (verdict.first, verdict.second))
        return f"{name}: {verdict.keeps} alone keeps the recall budget ({counts})"
    if not verdict.comparison:
        return f"{name}: {verdict.why}"
    found = verdict.difference
    interval = _interval(found)
    also = f"; {verdict.keeps} keeps the budget in more seeds" if verdict.keeps else ""
    return (
        f"{name} {COMPARED[verdict.comparison]}: {interval} ({count_text(found.n, 'seed')}), "
        f"{found.words}{also}"
    )


def _kept(one: Candidate) -> str:
    return f"{one.ordering} in {int(one.keeps_N.sum())} of {len(one.seeds)} seeds"


def reasons(
    evidence: StratumEvidence, verdicts: Verdicts, choice: Choice, margin: float, level: float
) -> tuple[str, ...]:
    """The comparisons behind a choice: the chosen ordering's, or where none is, all of them."""
    candidates = {one.ordering: one for one in evidence.candidates}
    if choice.word != UNDECIDED:
        against = {pair: one for pair, one in verdicts.items() if pair[0] == choice.ordering}
        # The way round that says why: better than the other, or the other no better.
        shown = [
            one if one.first_is_better else verdicts[second, first]
            for (first, second), one in against.items()
        ]
    else:
        pairs = [(pair.first, pair.second) for pair in evidence.pairs]
        shown = [verdicts[pair] for pair in pairs if pair in verdicts]
    lines: list[str] = []
    for one in shown:
        lines.append(verdict_line(one, candidates))
        lines += _beside(evidence, one, margin, level)
    if choice.word == LOWER_KL_WEIGHT:
        found = at_equal_weight(evidence, ALIGN_THEN_KD, KD_THEN_ALIGN, margin, level)
        lines.append(
            f"{contrast_name((ALIGN_THEN_KD, KD_THEN_ALIGN))} at equal KL weight, mean over the "
            f"weights: {_interval(found)}, {found.words}"
        )
        lines += _domination(evidence)
    return tuple(lines)


def _beside(
    evidence: StratumEvidence, one: PairVerdict, margin: float, level: float
) -> Iterator[str]:
    """The comparison at equal recall, where another one decides."""
    found = at_equal_recall(evidence, one.first, one.second, margin, level)
    if one.comparison != EQUAL_RECALL and found.n:
        yield (
            f"beside it, at equal recall: {_interval(found)} "
            f"({count_text(found.n, 'seed')}), {found.words}"
        )


def _domination(evidence: StratumEvidence) -> Iterator[str]:
    for pair in evidence.pairs:
        if (pair.first, pair.second) == (ALIGN_THEN_KD, KD_THEN_ALIGN):
            place = int(pair.dominated_W.argmax())
            yield (
                f"in {share_text(float(pair.dominated_W[place]))} of seeds some {KD_THEN_ALIGN} "
                f"has more reward and more recall than {ALIGN_THEN_KD} at the KL weight "
                f"{setting_text(evidence.weights[place])}"
            )


def missing(choice: Choice, margin: float, level: float) -> tuple[str, ...]:
    """What would settle an undecided choice, a line each."""
    return (*choice.missing, *(_settling(one, margin, level) for one in choice.unresolved))


def _interval(found: Difference) -> str:
    return interval_text(found.value, found.low, found.high)


def _settling(verdict: PairVerdict, margin: float, level: float) -> str:
    found, name = verdict.difference, contrast_name((verdict.first, verdict.second))
    if not verdict.comparison:
        return f"{name}: {verdict.why}"
    head = f"{name} {COMPARED.get(verdict.comparison, '')}"
    if found.n < 2:
        return f"{head}: one seed has no interval; run at least {SMALL_FROM}"
    if verdict.keeps:
        kept = f"{verdict.keeps} keeps the budget in more seeds"
        return f"{head} is {_interval(found)}, and {kept}: another budget, or more KL weights"
    if found.value <= margin and verdict.first_is_no_better:
        return f"{head}: {found.words}, so {verdict.second} isn't shown worse"
    needed = seeds_needed(found.value, found.sd, found.n, margin, level, least=SMALL_FROM)
    if not needed.sensible and found.high - found.low < 2 * margin:
        return (
            f"{head} is {_interval(found)}, about as large as the margin: seeds won't settle that, "
            "it is for you to say whether so much matters"
        )
    interval = _interval(found)
    return f"{head} is {interval}: {needed.more_text(found.n)}"


def conditions(
    evidence: StratumEvidence, verdicts: Verdicts, choice: Choice, margin: float
) -> tuple[str, ...]:
    """Under what a recommendation was seen, a line each."""
    lines = [f"{axis} {setting_text(value)}" for axis, value in evidence.stratum.items()]
    lines += _weights_tried(evidence)
    seeds = max((len(one.seeds) for one in evidence.candidates), default=0)
    unit = f" {evidence.unit}" if evidence.unit else ""
    lines.append(
        f"{count_text(seeds, 'seed')}; margin {setting_text(margin)}{unit}; recall budget "
        f"{setting_text(evidence.recall_budget)} {evidence.recall_unit} below p'"
    )
    usable = [one for one in evidence.candidates if one.state == COMPLETE]
    kept = [one for one in usable if not one.keeps_N.all()]
    if kept:
        lines.append(f"the budget is kept by {'; '.join(map(_kept, kept))}")
    lines += _outside(evidence, verdicts, choice, margin)
    tried = {one.ordering for one in evidence.candidates}
    if ANCHORED_TO_P_PRIME not in tried:
        lines.append(f"keeping p' as the reference ({ANCHORED_TO_P_PRIME}) wasn't tried")
    lines += [f"{one.ordering} is left out: {one.state}" for one in evidence.candidates
              if one.state != COMPLETE]  # fmt: skip
    if usable and not costs_of(usable):
        lines.append("what the orderings cost isn't known")
    return tuple(lines)


def _weights_tried(evidence: StratumEvidence) -> Iterator[str]:
    known = [weight for weight in evidence.weights if weight is not None]
    if len(evidence.weights) > 1:
        low, high = setting_text(min(known)), setting_text(max(known))
        yield f"{len(known)} KL weights from {low} to {high}"
    elif evidence.weights:
        at = f", {setting_text(known[0])}" if known else ""
        yield f"one KL weight{at}: it holds at that weight alone"


def _outside(
    evidence: StratumEvidence, verdicts: Verdicts, choice: Choice, margin: float
) -> Iterator[str]:
    """Orderings that lost for their recall alone: what they have where recall is equal."""
    for pair in evidence.pairs:
        verdict = verdicts.get((pair.first, pair.second))
        if verdict is None or not verdict.alone:
            continue
        if choice.ordering and choice.ordering not in (pair.first, pair.second):
            continue
        out = pair.second if verdict.keeps == pair.first else pair.first
        found = difference_of(pair, "equal_recall_N", margin, 0.05)
        if found.n > 1 and found.words == LARGER and out == pair.first:
            yield (
                f"at equal recall, outside the budget, {contrast_name((pair.first, pair.second))} "
                f"is {_interval(found)}: a larger budget may "
                "change the answer"
            )
