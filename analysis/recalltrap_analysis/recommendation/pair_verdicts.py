"""One ordering against another by the comparison that decides: a difference, and what it says.

Within the recall budget where enough seeds have both orderings there, else at equal recall. An
ordering that can't keep the budget where the other does has lost to it. Pure. Shapes: N seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from recalltrap_analysis.estimates.candidates import Candidate, Pair, StratumEvidence
from recalltrap_analysis.estimates.contrasts import EQUAL_RECALL, WITHIN_BUDGET
from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.number_format import signed_text
from recalltrap_analysis.statistics.margin import (
    LARGER,
    NOT_LARGER,
    SMALL_FROM,
    SMALLER,
    UNDECIDED,
    WITHIN,
    margin_words,
)
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.student import one_sided_bounds, student_interval
from recalltrap_analysis.statistics.two_way import two_way_mean, two_way_possible

ONE_KEEPS_BUDGET = "only one keeps the recall budget"
MORE_SEEDS = 0.1
"""The share of seeds by which one must keep the budget more often for that to count."""
NO_BETTER = (WITHIN, NOT_LARGER, SMALLER)


@dataclass(frozen=True)
class Difference:
    """A mean over seeds, or seeds × prompts, its 95 % interval, one-sided bounds at the verdict's
    level, and words."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    lower: float = np.nan
    upper: float = np.nan
    sd: float = np.nan
    n: int = 0
    words: str = UNDECIDED
    reversed_words: str = UNDECIDED
    """Of the same difference the other way round."""

    @property
    def no_better(self) -> bool:
        """Shown not to be larger than the margin."""
        return self.words in NO_BETTER

    @property
    def no_worse(self) -> bool:
        """Shown not to be below minus the margin."""
        return self.reversed_words in NO_BETTER


def difference_of(pair: Pair, name: str, margin: float, level: float) -> Difference:
    """What the seeds that have a value say; nothing where none has.

    Over seeds × held-out prompts where the prompts' rewards are known.

    Args:
        pair: The two orderings.
        name: Of the differences, a field of the pair.
        margin: What they are held against.
        level: Of each one-sided bound.
    """
    values_N: Array = getattr(pair, name)
    known_N = np.isfinite(values_N)
    known = values_N[known_N]
    if not len(known):
        return Difference()
    found = student_interval(known)
    lower, upper = one_sided_bounds(found, level)
    if name in pair.by_prompt and two_way_possible(pair.by_prompt[name][known_N]):
        mean = two_way_mean(pair.by_prompt[name][known_N])
        found, (lower, upper) = mean.interval(), mean.bounds(level)
    sd = float(known.std(ddof=1)) if found.n > 1 else np.nan
    words, reversed_words = (
        margin_words(low, high, found.n, margin) for low, high in ((lower, upper), (-upper, -lower))
    )
    return Difference(
        found.value, found.low, found.high, lower, upper, sd, found.n, words, reversed_words
    )


def flipped(found: Difference) -> Difference:
    """The same difference the other way round."""
    return replace(
        found,
        value=-found.value,
        low=-found.high,
        high=-found.low,
        lower=-found.upper,
        upper=-found.lower,
        words=found.reversed_words,
        reversed_words=found.words,
    )


@dataclass(frozen=True)
class PairVerdict:
    """The first ordering minus the second, by `comparison`; empty where none decides, and `why`.

    `keeps` names the one that is shown to keep the recall budget in more seeds, if any. With
    `ONE_KEEPS_BUDGET` that alone decides, and there is no difference. `contradiction` says which
    comparisons deny each other.
    """

    first: str
    second: str
    comparison: str
    difference: Difference = Difference()
    keeps: str = ""
    why: str = ""
    contradiction: str = ""

    @property
    def alone(self) -> bool:
        """Whether only the one of `keeps` keeps the budget in most seeds."""
        return self.comparison == ONE_KEEPS_BUDGET

    @property
    def first_is_better(self) -> bool:
        """Shown: by more than the margin, or no worse and keeping the budget in more seeds."""
        if self.keeps:
            return self.keeps == self.first and (self.alone or self.difference.no_worse)
        return self.difference.words == LARGER

    @property
    def first_is_no_better(self) -> bool:
        """Shown: not by more than the margin, nor in keeping the budget."""
        if self.keeps:
            return self.keeps == self.second and (self.alone or self.difference.no_better)
        return self.difference.no_better


def pair_verdicts(
    evidence: StratumEvidence, margin: float, level: float
) -> dict[tuple[str, str], PairVerdict]:
    """The verdict on every pair of complete candidates, both ways round."""
    candidates = {one.ordering: one for one in evidence.candidates if one.state == COMPLETE}
    found = {}
    for pair in evidence.pairs:
        if pair.first in candidates and pair.second in candidates:
            one, two = candidates[pair.first], candidates[pair.second]
            verdict = pair_verdict(pair, one, two, margin, level)
            found[pair.first, pair.second] = verdict
            found[pair.second, pair.first] = replace(
                verdict,
                first=pair.second,
                second=pair.first,
                difference=flipped(verdict.difference),
            )
    return found


def pair_verdict(
    pair: Pair, one: Candidate, two: Candidate, margin: float, level: float
) -> PairVerdict:
    """One pair by the comparison that decides.

    The budget decides where half of the seeds have both within it: what is true of a few may not
    be of the others. Below that the seeds at equal recall do, if they are half of all or eight.
    Which comparison it is must not turn on a single seed, so that fewer than eight of few seeds
    leave the pair open (`margin_words`) and don't hand it on to the other comparison.
    """
    if pair.state != COMPLETE:
        return PairVerdict(pair.first, pair.second, "", why=pair.state)
    keeps = keeps_in_more_seeds(one, two, level)
    if keeps and min(one.keeps_N.mean(), two.keeps_N.mean()) < 0.5:
        return PairVerdict(pair.first, pair.second, ONE_KEEPS_BUDGET, keeps=keeps)
    within, equal_recall, grid = (
        difference_of(pair, name, margin, level)
        for name in ("within_N", "equal_recall_N", "best_grid_N")
    )
    n = len(one.seeds)
    enough = min(SMALL_FROM, math.ceil(n / 2))
    contradiction = contradiction_of(within, equal_recall, grid, margin)
    if within.n >= n / 2:
        comparison, chosen = WITHIN_BUDGET, within
    elif equal_recall.n >= enough:
        comparison, chosen = EQUAL_RECALL, equal_recall
    elif within.n >= enough:
        comparison, chosen = WITHIN_BUDGET, within
    else:
        why = (
            f"of {n} seeds {within.n} have both within the recall budget and {equal_recall.n} a "
            "comparison at equal recall"
        )
        return PairVerdict(
            pair.first, pair.second, "", keeps=keeps, why=why, contradiction=contradiction
        )
    return PairVerdict(
        pair.first, pair.second, comparison, chosen, keeps, contradiction=contradiction
    )


def keeps_in_more_seeds(one: Candidate, two: Candidate, level: float) -> str:
    """The ordering that is shown to keep the budget in more seeds, and does so in at least half.

    The exact sign test on the seeds in which just one of them keeps it (McNemar's).
    """
    for keeper, other in ((one, two), (two, one)):
        alone = int((keeper.keeps_N & ~other.keeps_N).sum())
        apart = alone + int((other.keeps_N & ~keeper.keeps_N).sum())
        share = keeper.keeps_N.mean()
        if share < 0.5 or share - other.keeps_N.mean() <= MORE_SEEDS:
            continue
        if _at_least_heads(alone, apart) <= level:
            return keeper.ordering
    return ""


def _at_least_heads(heads: int, flips: int) -> float:
    """The probability of so many heads or more of a fair coin."""
    return float(sum(math.comb(flips, k) for k in range(heads, flips + 1)) / 2**flips)


def contradiction_of(
    within: Difference, equal_recall: Difference, grid: Difference, margin: float
) -> str:
    """Which comparisons deny each other; empty where none does."""
    if {within.words, equal_recall.words} == {LARGER, SMALLER}:
        return (
            f"within the recall budget it is {signed_text(within.value)}, at equal recall "
            f"{signed_text(equal_recall.value)}"
        )
    values = (equal_recall.value, grid.value)
    if all(map(math.isfinite, values)) and min(values) < -margin and max(values) > margin:
        return (
            f"at equal recall the curve says {signed_text(equal_recall.value)} between grid "
            f"points and {signed_text(grid.value)} at them: the grid of KL weights is too coarse"
        )
    return ""
