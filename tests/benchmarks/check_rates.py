"""How often the sentence of `recalltrap check` is right, wrong and undecided, where the optimum is
known.

    python tests/benchmarks/check_rates.py [--simulations 400] [--write]

Rewards of p' and p'' have a few values, so the best alignment anchored to each is a sum, and the
reward of p'' is set such that the anchor part is what a row says. Prints Markdown; `--write` renews
the table in `analysis/README.md`. Shapes: L values of the reward, K prompts, N samples of each.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from recalltrap.streams import stream
from recalltrap_analysis.check.anchor_part import Curves, anchor_part
from recalltrap_analysis.check.decision import COSTS_LITTLE, KEEP, decide
from recalltrap_analysis.check.references import Pair
from recalltrap_analysis.runs.responses import Responses
from recalltrap_analysis.statistics.margin import MARGIN
from recalltrap_analysis.statistics.paired import Array

HEIGHT = 10.0
TRUTHS = (0.0, MARGIN, 0.1, 0.2, 0.4)
SAMPLES = (256, 1024, 4096, 16384)
POPULATION = 20_000
"""Prompts that the truth of a study of prompts is a mean over."""
README = Path(__file__).parents[2] / "analysis/README.md"
BEGIN, END = "<!-- check begin -->\n", "<!-- check end -->\n"


@dataclass(frozen=True)
class Toy:
    """Rewards with a known optimum at one KL weight.

    `prime_PL` are probabilities of L rewards under p' for each prompt of a population, and `second`
    makes those of p'' of them and a number from 0, nothing of it, to 1, the same. A study asks
    `prompts` of the population.
    """

    name: str
    reward_L: Array
    prime_PL: Array
    second: Callable[[Array, float], Array]
    kl_weight: float
    prompts: int = 1

    def truth(self, kept: float) -> float:
        """The anchor part in attainment."""
        second_PL = self.second(self.prime_PL, kept)
        gained = self._optimum(self.prime_PL) - self._optimum(second_PL)
        return gained / (HEIGHT - float((second_PL @ self.reward_L).mean()))

    def _optimum(self, share_PL: Array) -> float:
        tilted_PL = share_PL * np.exp((self.reward_L - HEIGHT) / self.kl_weight)
        return float((tilted_PL @ self.reward_L / tilted_PL.sum(axis=1)).mean())

    def kept_at(self, truth: float) -> float:
        """What makes the anchor part this; NaN where nothing does."""
        if truth == 0:
            return 1.0
        if self.truth(1e-9) < truth:
            return np.nan
        return float(brentq(lambda kept: self.truth(kept) - truth, 1e-9, 1.0))

    def pair(self, kept: float, samples: int, generator: np.random.Generator) -> Pair:
        """What a study sees of it, with so many samples of each reference in all."""
        asked_K = generator.integers(len(self.prime_PL), size=self.prompts)
        prime_KL = self.prime_PL[asked_K]
        second_KL = self.second(prime_KL, kept)
        first, other = (
            self._drawn(share_KL, samples // self.prompts, generator)
            for share_KL in (prime_KL, second_KL)
        )
        unit = HEIGHT - float(other.reward_KN.mean())
        points = (((self.kl_weight,), self.kl_weight),)
        return Pair(points, "", (0,), (first,), (other,), (unit,), (HEIGHT,), redrawn=False)

    def _drawn(self, share_KL: Array, count: int, generator: np.random.Generator) -> Responses:
        reward_KN = np.array([generator.choice(self.reward_L, count, p=row) for row in share_KL])
        nothing_KN = np.full_like(reward_KN, np.nan)
        weight_K = np.full(self.prompts, 1.0 / self.prompts)
        names = tuple(map(str, range(self.prompts)))
        return Responses(reward_KN, nothing_KN, nothing_KN, nothing_KN, weight_K, names)


def rarer(share_PL: Array, kept: float) -> Array:
    """Only the largest reward becomes rarer; what is lost has the smallest."""
    found = share_PL.copy()
    found[:, -1] *= kept
    found[:, 0] += share_PL[:, -1] - found[:, -1]
    return found


def lower(share_PL: Array, kept: float) -> Array:
    """All rewards become lower, the large ones most."""
    tilted = share_PL * np.exp(np.log(kept) * np.linspace(0.0, 1.0, share_PL.shape[1]))
    return np.asarray(tilted / tilted.sum(axis=1, keepdims=True))


def toys() -> list[Toy]:
    """Rewards of many kinds."""
    graded_L = np.linspace(0.0, HEIGHT, 41)
    bell_L = np.exp(-0.5 * ((graded_L - 5.0) / 1.5) ** 2)
    hit_L = np.array([0.0, HEIGHT])
    rates_P = stream(0, "check/prompts").beta(0.5, 9.5, size=POPULATION)
    prompts_PL = np.stack([1.0 - rates_P, rates_P], axis=1)
    return [
        Toy("graded rewards, β 2", graded_L, bell_L[None] / bell_L.sum(), lower, 2.0),
        Toy("graded rewards, β 0.7", graded_L, bell_L[None] / bell_L.sum(), lower, 0.7),
        Toy("hits, 2 in 100 of p', β 2", hit_L, np.array([[0.98, 0.02]]), rarer, 2.0),
        Toy("hits, 2 in 1,000 of p', β 1.5", hit_L, np.array([[0.998, 0.002]]), rarer, 1.5),
        Toy("64 prompts, hits in 5 % of p', β 4", hit_L, prompts_PL, rarer, 4.0, prompts=64),
        Toy("64 prompts, hits in 5 % of p', β 2", hit_L, prompts_PL, rarer, 2.0, prompts=64),
    ]


def rates(toy: Toy, truth: float, samples: int, simulations: int) -> Counter[str]:
    """How often each word is said."""
    generator = stream(0, f"check/{toy.name}/{truth}/{samples}")
    kept = toy.kept_at(truth)
    said: Counter[str] = Counter()
    for _ in range(simulations):
        pair = toy.pair(kept, samples, generator)
        part = anchor_part(pair, toy.kl_weight, Curves(pair))
        assert part is not None
        said[decide(part, MARGIN, looks=1).word] += 1
    return said


def table(simulations: int) -> str:
    """The rates as Markdown."""
    lines = [
        "| rewards | true anchor part | " + " | ".join(f"{n:,} samples" for n in SAMPLES) + " |",
        "| --- | --- |" + " --- |" * len(SAMPLES),
    ]
    for toy in toys():
        for truth in TRUTHS:
            if np.isnan(toy.kept_at(truth)):
                continue
            cells = []
            for samples in SAMPLES:
                said = rates(toy, truth, samples, simulations)
                keep, little = (100 * said[word] / simulations for word in (KEEP, COSTS_LITTLE))
                wrong = max(keep * (truth <= MARGIN), little * (truth >= MARGIN))
                cells.append(f"{keep:.0f} / {little:.0f}" + "*" * (wrong > 5))
            line = f"| {toy.name} | {truth:g} | {' | '.join(cells)} |"
            print(line, flush=True)
            lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, and write it on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    command = f"python tests/benchmarks/check_rates.py --simulations {args.simulations}"
    text = (
        f"{datetime.now(UTC):%Y-%m-%d}, `{command}`. Percent of checks that say *keep p'* / *costs "
        f"less than the margin* ({MARGIN:g} in attainment); the rest is not decidable. At the "
        "margin itself each should be said in at most 5 %. * where more than 5 % are wrong.\n\n"
        + table(args.simulations)
    )
    if args.write:
        page = README.read_text()
        before, _, rest = page.partition(BEGIN)
        _, found, after = rest.partition(END)
        if not found:
            sys.exit(f"{README} has no {BEGIN.strip()}")
        README.write_text(f"{before}{BEGIN}{text}{END}{after}")


if __name__ == "__main__":
    main()
