"""How often each reference gives a good response, and where one practically never does.

What is good is said by p' own rewards: the response that at most one in twenty, or in a hundred, of
its samples reaches. Shapes: S seeds, K prompts, N samples of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recalltrap_analysis.runs.responses import Responses
from recalltrap_analysis.statistics.paired import CONFIDENCE, holm
from recalltrap_analysis.statistics.quantiles import normal_quantile

Reached = NDArray[np.bool_]
"""Whether a sample is good, shape [K, N]."""

QUANTILES = (0.95, 0.99)
OF_SUPREMUM = 0.9
"""A response hits the target where its reward is at least this share of the supremum."""
NEVER = 0.1
"""One practically never hits where it does so at most this often, against the other."""
ALPHA = 0.05


@dataclass(frozen=True)
class Rate:
    """A hit rate with its 95 % limits (Wilson's), and how many samples to the first hit."""

    value: float
    low: float
    high: float

    @property
    def to_first(self) -> float:
        """Samples to expect before the first hit, at the rate found."""
        return 1.0 / self.value if self.value > 0 else np.inf

    @property
    def to_first_least(self) -> float:
        """The fewest that its limits leave possible."""
        return 1.0 / self.high if self.high > 0 else np.inf


@dataclass(frozen=True)
class Trapped:
    """A prompt of a seed on which `rarer` practically never hits, and the other does."""

    rarer: str
    prompt: str
    seed: int
    rate_prime: Rate
    rate_second: Rate
    p: float


@dataclass(frozen=True)
class Hits:
    """How often each reference reaches a threshold, and the sampling trap that it makes.

    `threshold`: the reward, mean over seeds. `trapped` are prompts whose rates differ by Fisher's
    exact test, Holm over `considered`, all prompts of all seeds in both directions.
    """

    title: str
    threshold: float
    prime: Rate
    second: Rate
    trapped: tuple[Trapped, ...]
    considered: int
    samples: int

    def of(self, rarer: str) -> list[Trapped]:
        """Where the reference of that name is the one that practically never hits."""
        return [found for found in self.trapped if found.rarer == rarer]


def thresholds(prime: Responses, supremum: float) -> dict[str, float]:
    """What a good response's reward is at least, by title.

    A quantile is the smallest reward that no more than its share of the samples reaches: where
    many have the same reward, the next that is better.
    """
    values, counts = np.unique(prime.reward_KN, return_counts=True)
    if len(values) == 1:
        return {}
    at_least = counts[::-1].cumsum()[::-1]
    found = {}
    for quantile in QUANTILES:
        rare = at_least <= (1.0 - quantile) * prime.samples + 1e-9
        found[f"best {100 * (1 - quantile):.0f} % of p'"] = float(
            values[rare][0] if rare.any() else values[-1]
        )
    if np.isfinite(supremum):
        found[f"R ≥ {OF_SUPREMUM:g} R_max"] = OF_SUPREMUM * supremum
    return found


def hit_table(
    prime: Sequence[Responses],
    second: Sequence[Responses],
    seeds: Sequence[int],
    suprema: Sequence[float],
) -> list[Hits]:
    """How often the references of S seeds reach each threshold, which is each seed's own.

    Of thresholds that the very same samples reach, as where a reward is yes or no, the last stands.

    Args:
        prime: Samples of p', one per seed.
        second: Of p'', likewise.
        seeds: Their seeds.
        suprema: The rewards' suprema; NaN where there is none.
    """
    of_seed = [thresholds(one, best) for one, best in zip(prime, suprema, strict=True)]
    titles = [title for title in of_seed[0] if all(title in found for found in of_seed)]
    reached = [_reached([found[title] for found in of_seed], prime, second) for title in titles]
    titles = [title for i, title in enumerate(titles) if reached[i] not in reached[i + 1 :]]
    return [
        _hits(title, [found[title] for found in of_seed], prime, second, seeds) for title in titles
    ]


def _reached(
    threshold_S: Sequence[float], prime: Sequence[Responses], second: Sequence[Responses]
) -> list[tuple[int, int]]:
    """How many samples of each seed's references reach its threshold: which ones that are, too,
    for a threshold cuts them in the order of their rewards."""
    each = zip(threshold_S, prime, second, strict=True)
    return [(int((p.reward_KN >= t).sum()), int((q.reward_KN >= t).sum())) for t, p, q in each]


def _hits(
    title: str,
    threshold_S: Sequence[float],
    prime: Sequence[Responses],
    second: Sequence[Responses],
    seeds: Sequence[int],
) -> Hits:
    hit_prime = [one.reward_KN >= least for one, least in zip(prime, threshold_S, strict=True)]
    hit_second = [one.reward_KN >= least for one, least in zip(second, threshold_S, strict=True)]
    trapped, considered = _trapped(hit_prime, hit_second, prime, seeds)
    return Hits(
        title=title,
        threshold=float(np.mean(threshold_S)),
        prime=_overall(hit_prime, prime),
        second=_overall(hit_second, second),
        trapped=tuple(trapped),
        considered=considered,
        samples=prime[0].reward_KN.shape[1],
    )


def _overall(hit: Sequence[Reached], responses: Sequence[Responses]) -> Rate:
    """The rate over seeds and prompts. Hits cluster in them, so Wilson's limits are those of as
    many independent samples as would have the same error."""
    rate_SK = np.array([one.mean(axis=1) for one in hit])
    weight_K = responses[0].weight_K
    seeds, prompts = rate_SK.shape
    rate = float((rate_SK @ weight_K).mean())
    count = float(sum(one.size for one in hit)) / max(1.0, prompts * float(weight_K @ weight_K))
    groups = seeds * prompts
    if groups > 1 and 0 < rate < 1:
        square = weight_K[None, :] ** 2 * (rate_SK - rate) ** 2
        error2 = float(square.sum()) / seeds**2 * groups / (groups - 1)
        if error2 > 0:
            count = min(count, rate * (1 - rate) / error2)
    return wilson(rate, count)


def wilson(rate: float, count: float, confidence: float = CONFIDENCE) -> Rate:
    """Wilson's score limits of a rate among so many samples, which needn't be a whole number."""
    z2 = normal_quantile(0.5 + confidence / 2) ** 2
    centre = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (rate * (1 - rate) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    low = 0.0 if rate == 0 else max(0.0, float(centre - half))
    return Rate(rate, low, 1.0 if rate == 1 else min(1.0, float(centre + half)))


def _trapped(
    hit_prime: Sequence[Reached],
    hit_second: Sequence[Reached],
    responses: Sequence[Responses],
    seeds: Sequence[int],
) -> tuple[list[Trapped], int]:
    """The prompts that one of the two practically never hits, and how many were looked at."""
    found, p_values = [], []
    for hits1, hits2, one, seed in zip(hit_prime, hit_second, responses, seeds, strict=True):
        for prompt, row1, row2 in zip(one.prompts, hits1, hits2, strict=True):
            k1, k2, n1, n2 = int(row1.sum()), int(row2.sum()), len(row1), len(row2)
            rates = wilson(k1 / n1, n1), wilson(k2 / n2, n2)
            for rarer, rare, often in (("p_second", (k2, n2), (k1, n1)),
                                       ("p_prime", (k1, n1), (k2, n2))):  # fmt: skip
                p = fisher_rarer(*rare, *often)
                p_values.append(p)
                if rare[0] / rare[1] <= NEVER * often[0] / often[1] and often[0]:
                    found.append((len(p_values) - 1, rarer, prompt, seed, rates))
    adjusted = holm(p_values) if p_values else np.empty(0)
    trapped = [
        Trapped(rarer, prompt, seed, *rates, float(adjusted[place]))
        for place, rarer, prompt, seed, rates in found
        if adjusted[place] <= ALPHA
    ]
    return sorted(trapped, key=lambda one: one.p), len(p_values)


def fisher_rarer(hits: int, count: int, other_hits: int, other_count: int) -> float:
    """Fisher's exact test that the first hits less often: P(so few hits | all hits)."""
    from scipy import stats  # two seconds, which no report needs

    all_hits = hits + other_hits
    return float(stats.hypergeom.cdf(hits, count + other_count, all_hits, count))
