"""The one sentence of a check, and the lines below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recalltrap_analysis.check.anchor_part import BEST_OF_N, OPTIMUM
from recalltrap_analysis.check.decision import (
    COSTS_LITTLE,
    KEEP,
    MOST,
    PROMPTS,
    SAMPLES,
    SEEDS,
    UNDECIDED,
    More,
)
from recalltrap_analysis.check.findings import Findings, PointFinding
from recalltrap_analysis.check.hits import Hits
from recalltrap_analysis.check.scorers import scorer_line
from recalltrap_analysis.number_format import (
    count_text,
    decimal_text,
    interval_text,
    point_text,
    quantity_text,
    setting_text,
    share_text,
)

LIKELIHOOD_LOSS = 0.5
"""Nats per token by which the chosen responses of p'' may be less likely under the judge."""
NOT_FORECAST = (
    "It is a forecast of the anchor part alone: A-K's last distillation isn't forecast, which may "
    "add to what align-first gives or take from it."
)


@dataclass(frozen=True)
class Sentence:
    """What a check comes to: one of the three words, and the sentence that says it."""

    word: str
    text: str


def sentence(found: Findings) -> Sentence:
    """The one sentence: any grid point can say *keep p'*, and all must say *costs less*."""
    of_word = {
        word: [one for one in found.points if one.decision.word == word]
        for word in (KEEP, COSTS_LITTLE, UNDECIDED)
    }
    if not found.points:
        return Sentence(UNDECIDED, f"Not decidable from this: {found.lacking or 'no unit'}.")
    if kept := of_word[KEEP]:
        return Sentence(KEEP, _keep(found, kept))
    if not of_word[UNDECIDED]:
        highest = max(one.decision.high for one in found.points)
        everywhere = f" at all {len(found.points)} grid points" if len(found.points) > 1 else ""
        text = (
            f"The anchor p'' costs less than the margin{everywhere}: the anchor part is at most "
            f"{decimal_text(highest)} of {_margin(found)}."
        )
        return Sentence(COSTS_LITTLE, text)
    return Sentence(UNDECIDED, _undecided(found, of_word[UNDECIDED]))


def _margin(found: Findings) -> str:
    return f"{setting_text(found.margin)} in {found.unit}"


def _keep(found: Findings, kept: Sequence[PointFinding]) -> str:
    largest = max(kept, key=lambda one: one.part.spread.value)
    estimate = largest.part.spread.estimate()
    several = len(found.points) > 1
    where = f" at {_where(found, kept)}" if len(kept) < len(found.points) else ""
    place = f" at {point_text(largest.point, found.axes)}" if several else ""
    text = (
        f"Keep p' as the reference{where}: anchored to p'', alignment is expected to attain "
        f"{interval_text(estimate.value, estimate.low, estimate.high)} less{place}, on a margin of "
        f"{_margin(found)}"
    )
    others = Counter(one.decision.word for one in found.points if one.decision.word != KEEP)
    said = {COSTS_LITTLE: "p'' costs less than the margin at", UNDECIDED: "undecided at"}
    rest = ", ".join(f"{said[word]} {number}" for word, number in others.items())
    return f"{text}; of the other grid points {rest}." if rest else f"{text}."


def _where(found: Findings, some: Sequence[PointFinding]) -> str:
    """Which grid points, as an end of the KL weights where they are one."""
    weight = found.kind.kl_weight
    if tuple(found.axes) == (weight,):
        chosen = sorted(one.point[0] for one in some)
        if len(chosen) == 1:
            return f"{weight} {setting_text(chosen[0])}"
        every = sorted(one.point[0] for one in found.points)
        if every[-len(chosen) :] == chosen:
            return f"{weight} {setting_text(chosen[0])} and more"
        if every[: len(chosen)] == chosen:
            return f"{weight} {setting_text(chosen[-1])} and less"
    return f"{len(some)} of {count_text(len(found.points), 'grid point')}"


def _undecided(found: Findings, undecided: Sequence[PointFinding]) -> str:
    several = len(found.points) > 1
    where = f" at {_where(found, undecided)}" if len(undecided) < len(found.points) else ""
    worst = max(undecided, key=lambda one: one.decision.more.times if one.decision.more else 0.0)
    place = f" (e.g. at {point_text(worst.point, found.axes)})" if several else ""
    least = len(found.points) - len(undecided)
    rest = f" At the other {least} the anchor p'' costs less than the margin." if least else ""
    return (
        f"Not decidable from this{where}, on a margin of {_margin(found)}: "
        f"{worst.decision.why}{place}; {draw_more(found, undecided)}.{rest}"
    )


def draw_more(found: Findings, undecided: Sequence[PointFinding]) -> str:
    """How many more would decide at all of these grid points."""
    wanted = [one.decision.more for one in undecided if one.decision.more is not None]
    hopeless = [one for one in wanted if not one.of]
    if len(hopeless) == len(wanted):
        return f"{MOST:.0f} times as many samples would not decide it"
    useful = [one for one in wanted if one.of]
    factor = max(useful, key=lambda one: one.times)
    rest = (
        f", but {MOST:.0f} times as many would not at {len(hopeless)} of them" if hopeless else ""
    )
    return f"{_drawn(found, factor)}{rest}"


def _drawn(found: Findings, more: More) -> str:
    samples = found.kind.reward_samples
    assert samples is not None
    if more.of == SAMPLES:
        wanted = np.ceil(found.samples * more.times / 100) * 100
        setting = f" (settings.{samples.setting})" if samples.setting else ""
        return f"draw {wanted:,.0f} samples of each reference{setting} instead of {found.samples:,}"
    counts = {
        PROMPTS: len(found.pairs[0].prime[0].weight_K),
        SEEDS: len(found.pairs[0].seeds),
    }
    now = counts[more.of]
    return f"take {int(np.ceil(now * more.times))} {more.of} instead of {now}"


def trap_lines(found: Findings) -> list[str]:
    """The sampling trap, in both directions, of the pair that has most of it; a line a title."""
    lines = []
    for title in dict.fromkeys(hits.title for of_pair in found.hits for hits in of_pair):
        same = [
            (pair, hits)
            for pair, of_pair in zip(found.pairs, found.hits, strict=True)
            for hits in of_pair
            if hits.title == title
        ]
        pair, hits = max(same, key=lambda both: len(both[1].trapped))
        where = f" ({pair.where})" if pair.where else ""
        lines.append(f"{title}{where}: {hit_text(found, hits)}")
    return lines


def places(found: Findings, count: int) -> str:
    """So many prompts, seeds, or prompts of seeds, whatever a check has several of."""
    prompts = any(len(pair.prime[0].weight_K) > 1 for pair in found.pairs)
    seeds = any(len(pair.seeds) > 1 for pair in found.pairs)
    if prompts and seeds:
        return f"{count} prompts of all seeds"
    return count_text(count, "seed" if seeds else "held-out prompt")


def hit_text(found: Findings, hits: Hits) -> str:
    """Rates and the sampling trap of one threshold in words."""
    rates = (
        f"p' {_rate(hits.prime.value, hits.prime.low, hits.prime.high)}, "
        f"p'' {_rate(hits.second.value, hits.second.low, hits.second.high)} of samples; first hit "
        f"after {quantity_text(hits.prime.to_first)} and {quantity_text(hits.second.to_first)}"
    )
    if not np.isfinite(hits.second.to_first):
        rates += f" (at least {quantity_text(hits.second.to_first_least)})"
    considered = hits.considered // 2
    if considered == 1:
        names = {"p_second": "p''", "p_prime": "p'"}
        trapped = next((names[one.rarer] for one in hits.trapped), "")
        other = {"p''": "p'", "p'": "p''"}.get(trapped, "")
        says = f"{trapped} practically never hits where {other} does" if trapped else "no trap seen"
        return f"{rates}; {says}"
    below, above = len(hits.of("p_second")), len(hits.of("p_prime"))
    return (
        f"{rates}; p'' practically never hits where p' does in {below} of "
        f"{places(found, considered)}, the other way round in {above}"
    )


def _rate(value: float, low: float, high: float) -> str:
    return f"{share_text(value)} [{share_text(low)}, {share_text(high)}]"


def gibberish_line(found: Findings) -> str:
    """Where the chosen responses of p'' are much less likely under the judge; empty without."""
    losses = []
    for one in found.points:
        for way in (OPTIMUM, BEST_OF_N):
            both = [anchor.chosen[way]["judge"] for anchor in (one.part.prime, one.part.second)]
            losses.append((both[0] - both[1], one, way))
    losses = [loss for loss in losses if np.isfinite(loss[0]) and loss[0] > LIKELIHOOD_LOSS]
    if not losses:
        return ""
    loss, one, way = max(losses, key=lambda found: found[0])
    where = f" at {point_text(one.point, found.axes)}" if found.axes else ""
    return (
        f"Look at what p'' says: its best responses are up to {decimal_text(loss)} nats per token "
        f"less likely under the judge than those of p' ({way}{where}), and a reward needn't mind."
    )


def lines(found: Findings) -> list[str]:
    """What stands below the sentence: likelihoods, scorers, traps, what isn't forecast or read."""
    said = [gibberish_line(found), scorer_line(found.scorers), *trap_lines(found), NOT_FORECAST]
    if found.pairs and not found.pairs[0].redrawn:
        models = "p' and p''" if len(found.pairs[0].seeds) == 1 else "p'"
        said.append(f"It holds for {'these' if 'and' in models else 'this'} {models}.")
    if found.lacking:
        said.append(f"Left out: {found.lacking}.")
    return [line for line in said if line]
