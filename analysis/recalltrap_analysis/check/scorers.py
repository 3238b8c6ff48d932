"""What the reward picks, by scorers that nothing optimises: does it score higher there too?

The best of n of a reference by the reward, and all its samples, both judged by each scorer. Where
the pick scores lower, a reward that rises is hacked, and that shows before anything is aligned.
Shapes: S seeds, K prompts, N samples of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recalltrap_analysis.check.anchor_part import Curves, chosen_mean, chosen_means
from recalltrap_analysis.check.intervals import Spread, two_way
from recalltrap_analysis.check.references import Pair
from recalltrap_analysis.number_format import interval_text
from recalltrap_analysis.runs.responses import Responses
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.student import ONE_SIDED

SHARE = 4
"""Best of at most a fourth of a prompt's samples: of more, few samples are ever picked."""
BLOCKS = 20
"""Of the jackknife over a prompt's samples."""
HIGHER, LOWER, NOT_SEEN = "scores higher too", "scores lower", "not seen to move"


@dataclass(frozen=True)
class ScorerGain:
    """One scorer's view of what the reward picks from one reference, means over seeds and prompts.

    `everything` is the score of all samples and `picked` of the best of `n` by the reward; `gain`
    their difference in standard deviations of the score under p', seed by seed.
    """

    scorer: str
    where: str
    reference: str
    n: int
    everything: float
    picked: float
    gain: Spread

    @property
    def reading(self) -> str:
        """Whether the gain is clear of 0, by its one-sided 5 % bounds."""
        low, high = self.gain.bounds(ONE_SIDED)
        return HIGHER if low > 0 else LOWER if high < 0 else NOT_SEEN

    def text(self) -> str:
        """The gain with its 95 % interval."""
        found = self.gain.estimate()
        return interval_text(found.value, found.low, found.high)


def scorer_gains(pair: Pair, names: Sequence[str], curves: Curves) -> list[ScorerGain]:
    """By every scorer, what the reward picks from p' and from p''.

    The n is the best one at the smallest of the pair's KL weights, where reward is sought hardest.

    Args:
        pair: The references.
        names: What the scorers are called, in the order of `Responses.scores`.
        curves: Of the pair.
    """
    least = min(beta for _, beta in pair.points)
    fewest = min(one.reward_KN.shape[1] for one in (*pair.prime, *pair.second))
    sought = max(curve.best(least).n for curve in (*curves.prime, *curves.second))
    n = max(min(sought, fewest // SHARE), 2)
    if n > fewest - -(-fewest // BLOCKS):
        return []
    found = []
    for place, name in enumerate(names):
        unit_S = np.array([_deviation(one, one.scores[place]) for one in pair.prime])
        unit_S = np.where(unit_S > 0, unit_S, 1.0)  # where all score alike, nothing moves
        for reference, samples in (("p'", pair.prime), ("p''", pair.second)):
            gain = [_gain(one, one.scores[place], n) for one in samples]
            value_SK, error_SK = (np.stack(x) / unit_S[:, None] for x in zip(*gain, strict=True))
            plain = [one.weight_K @ one.scores[place].mean(axis=1) for one in samples]
            picked = [chosen_mean(one, one.scores[place], n) for one in samples]
            found.append(
                ScorerGain(
                    scorer=name,
                    where=pair.where,
                    reference=reference,
                    n=n,
                    everything=float(np.mean(plain)),
                    picked=float(np.mean(picked)),
                    gain=two_way(value_SK, error_SK, samples[0].weight_K),
                )
            )
    return found


def _deviation(responses: Responses, score_KN: Array) -> float:
    """The standard deviation of a score over prompts, by their weights, and samples."""
    mean = responses.weight_K @ score_KN.mean(axis=1)
    return float(np.sqrt(responses.weight_K @ ((score_KN - mean) ** 2).mean(axis=1)))


def _gain(responses: Responses, score_KN: Array, n: int) -> tuple[Array, Array]:
    """How much higher the best of n score than all, and its standard error; both [K].

    The error is the jackknife's, which leaves out a block of every prompt's samples at a time.
    """
    count = score_KN.shape[1]
    blocks = min(BLOCKS, count)
    block_N = np.arange(count) % blocks
    without_BK = np.stack([
        _difference(responses, score_KN, n, block_N != block) for block in range(blocks)
    ])  # fmt: skip
    error2_K = without_BK.var(axis=0) * (blocks - 1)
    return _difference(responses, score_KN, n, block_N >= 0), np.sqrt(error2_K)


def _difference(responses: Responses, score_KN: Array, n: int, kept_N: Array) -> Array:
    score_KN = score_KN[:, kept_N]
    picked_K = chosen_means(responses.reward_KN[:, kept_N], score_KN, n)
    return np.asarray(picked_K - score_KN.mean(axis=1))


def scorer_line(gains: Sequence[ScorerGain]) -> str:
    """One sentence on what the reward picks, by all scorers; empty without any."""
    if not gains:
        return ""
    picks = f"the best of {gains[0].n} by the reward"
    lower = [one for one in gains if one.reading == LOWER]
    if lower:
        worst = {one.scorer: min((other for other in lower if other.scorer == one.scorer),
                                 key=lambda other: other.gain.value) for one in lower}  # fmt: skip
        said = " and ".join(
            f"{name} ({one.text()} of its standard deviations under p', of {one.reference}"
            f"{', ' + one.where if one.where else ''})"
            for name, one in worst.items()
        )
        return (
            f"Possible reward hacking: {picks} score lower than all samples by {said}. Read what "
            "they say before the reward is optimised."
        )
    unseen = list(dict.fromkeys(one.scorer for one in gains if one.reading == NOT_SEEN))
    if unseen:
        return (
            f"No scorer is seen to fall in {picks}, but {' and '.join(unseen)} isn't seen to rise "
            "from both references either: more reward may be worth nothing there."
        )
    return f"By every scorer {picks} score higher than all samples too, of p' and of p''."
