"""What the anchor part of one grid point comes to: keep p', the anchor p'' costs little, or draw
more, and how many more.

The bounds of the anchor part are widened by what weighing samples leaves out: each optimum is too
low by its bias, and higher by what was too rare to be seen. So p' is kept only where p'' would not
catch up with all that its samples may lack, and p'' costs little only where p' would not get away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from recalltrap_analysis.check.anchor_part import Anchor, AnchorPart
from recalltrap_analysis.statistics.margin import SMALL_FROM
from recalltrap_analysis.statistics.quantiles import normal_quantile

KEEP = "keep p' as the reference"
COSTS_LITTLE = "the anchor p'' costs less than the margin"
UNDECIDED = "not decidable from this"

ALPHA = 0.05
"""Of each bound; *keep p'*, which any grid point can bring about, shares it over all of them."""
ENOUGH, ENOUGH_EACH = 100, 5
"""Effective samples, in all and of a prompt, under both anchors, that *costs less* rests on."""
MOST = 64.0
"""Times as many, at most: beyond, drawing isn't what settles it."""
POWER = 0.8
STEP = 1.25
SAMPLES, PROMPTS, SEEDS = "samples", "held-out prompts", "seeds"


@dataclass(frozen=True)
class More:
    """What would decide: so many times the samples, or the prompts, or the seeds; or nothing."""

    times: float
    of: str


@dataclass(frozen=True)
class Decision:
    """The word on one grid point, with the bounds that it rests on, one-sided at ALPHA and widened.

    `why` is what an undecided one lacks, and `more` what would decide.
    """

    word: str
    low: float
    high: float
    why: str = ""
    more: More | None = None


def decide(found: AnchorPart, margin: float, looks: int) -> Decision:
    """Decide one grid point, of `looks` that may each say *keep p'*."""
    low, _ = _bounds(found, ALPHA / max(looks, 1))
    shown_low, high = _bounds(found, ALPHA)
    if low > margin:
        return Decision(KEEP, shown_low, high)
    lacks = _lacking(found)
    if high <= margin and not lacks:
        return Decision(COSTS_LITTLE, shown_low, high)
    why = lacks if high <= margin else _why(found, shown_low, high, margin)
    return Decision(UNDECIDED, shown_low, high, why, more(found, margin, looks))


def _bounds(found: AnchorPart, alpha: float) -> tuple[float, float]:
    low, high = found.spread.bounds(alpha)
    return low - _missing(found.second), high + _missing(found.prime)


def _missing(anchor: Anchor) -> float:
    """By how much an optimum may be higher than it was weighed."""
    return anchor.bias + anchor.unseen


def _lacking(found: AnchorPart) -> str:
    """Why *costs less* can't be said, whatever the bounds; empty where it can."""
    if found.pair.constant:
        return "no sample had another reward than the others"
    anchors = [("p'", found.prime), ("p''", found.second)]
    for title, anchor in sorted(anchors, key=lambda one: one[1].effective):  # the scarcest first
        if anchor.effective < ENOUGH:
            return f"{title} leaves {anchor.effective:.3g} effective samples of {ENOUGH} needed"
        if anchor.each < ENOUGH_EACH:
            return (
                f"{title} leaves {anchor.each:.1f} effective samples of a prompt, of "
                f"{ENOUGH_EACH} needed"
            )
    seeds = len(found.pair.seeds)
    if found.pair.redrawn and seeds < SMALL_FROM:
        return f"no larger anchor part was seen, in {seeds} seeds; {SMALL_FROM} are needed"
    return ""


def _why(found: AnchorPart, low: float, high: float, margin: float) -> str:
    """Which of the things that widen the bounds is the largest."""
    plain_low, plain_high = found.spread.bounds(ALPHA)
    names = {
        f"its interval {found.spread.factors} is too wide": plain_high - plain_low,
        "what p' was too rarely seen to say could be worth more": _missing(found.prime),
        "what p'' was too rarely seen to say could be worth more": _missing(found.second),
    }
    if plain_high <= margin:
        return "what p' was too rarely seen to say could be worth more"
    if plain_low > margin:
        lost = "what p'' was too rarely seen to say could be worth more"
        return lost if low <= margin else "the margin is passed, but not over all grid points"
    return max(names, key=lambda name: names[name])


def more(found: AnchorPart, margin: float, looks: int) -> More:
    """The smallest growth of one factor that would decide, if what was found is so.

    Samples come first, then prompts, then seeds: cheapest first. A bias and what is unseen shrink
    with the samples; the variance over seeds and prompts with their number.
    """
    pair = found.pair
    ways = [(SAMPLES, True)]
    if len(pair.prime[0].weight_K) > 1:
        ways.append((PROMPTS, False))
    if len(pair.seeds) > 1:
        ways.append((SEEDS, False))
    best: More | None = None
    if pair.redrawn and 1 < len(pair.seeds) < SMALL_FROM:
        ways = ways[::-1]  # fewer seeds never say that nothing is larger
    for name, samples in ways:
        times = 1.0
        while times * STEP <= MOST:
            times *= STEP
            if _would_decide(found, margin, looks, times, name, samples=samples):
                break
        else:
            continue
        if best is None or times < 0.5 * best.times:
            best = More(times, name)
    return best or More(MOST, "")


def _would_decide(
    found: AnchorPart, margin: float, looks: int, times: float, name: str, *, samples: bool
) -> bool:
    """Whether so much more decides in four cases of five, if what was found is so."""
    grown = found.spread.grown(times, 1.0) if samples else found.spread.grown(1.0, times)
    prime, second = (_grown(one, times, samples) for one in (found.prime, found.second))
    likely = normal_quantile(POWER) * grown.error
    low, _ = grown.bounds(ALPHA / max(looks, 1))
    _, high = grown.bounds(ALPHA)
    if low - likely - _missing(second) > margin:
        return True
    enough = min(prime.effective, second.effective) >= ENOUGH
    each = min(prime.each, second.each) >= ENOUGH_EACH
    seeds = len(found.pair.seeds) * (times if name == SEEDS else 1.0)
    if found.pair.redrawn and seeds < SMALL_FROM:
        return False
    return enough and each and high + likely + _missing(prime) <= margin


def _grown(anchor: Anchor, times: float, samples: bool) -> Anchor:
    """With so many times the samples of each prompt, or the prompts or seeds."""
    shrunk = times if samples else 1.0
    return replace(
        anchor,
        effective=anchor.effective * times,
        each=anchor.each * shrunk,
        bias=anchor.bias / shrunk,
        unseen=anchor.unseen / times,
    )
