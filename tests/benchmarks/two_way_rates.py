"""Error rates of effects over seeds × prompts, beside those of a t over seeds alone.

    python tests/benchmarks/two_way_rates.py [--simulations 4000] [--write]

Prints Markdown; `--write` also renews the table in `analysis/README.md`. A minute or two.
Shapes: N seeds, P prompts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy import stats

from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.two_way import two_way_mean

README = Path(__file__).parents[2] / "analysis/README.md"
BEGIN, END = "<!-- two-way begin -->\n", "<!-- two-way end -->\n"
SEEDS, PROMPTS = (2, 3, 5, 8), (20, 100)
CASES = (
    ("seeds alone vary", 0.01, 0.0, False),
    ("prompts alone vary", 0.0, 1.0, False),
    ("both vary", 0.05, 1.0, False),
    ("neither varies", 0.0, 0.0, False),
    ("both vary, exponentially", 0.05, 1.0, True),
)
"""Name, variance over seeds and over prompts (of the rest: 1), and whether the two are skewed."""


def drawn(
    generator: np.random.Generator, n: int, p: int, seeds: float, prompts: float, skewed: bool
) -> Array:
    """One study's differences around a true mean of 0; shape [N, P]."""

    def effects(shape: tuple[int, int]) -> Array:
        return generator.exponential(size=shape) - 1 if skewed else generator.normal(size=shape)

    rest_NP = generator.normal(size=(n, p))
    return np.asarray(
        seeds**0.5 * effects((n, 1)) + prompts**0.5 * effects((1, p)) + rest_NP, dtype=float
    )


def rates(simulations: int) -> Iterator[str]:
    """A row of Markdown per case, number of seeds and number of prompts."""
    for name, of_seeds, of_prompts, skewed in CASES:
        for n in SEEDS:
            cells = []
            for p in PROMPTS:
                generator = np.random.default_rng([n, p])
                wrong = np.zeros(4)
                for _ in range(simulations):
                    values_NP = drawn(generator, n, p, of_seeds, of_prompts, skewed)
                    wrong += judged(values_NP)
                above, below, both, alone = 100 * wrong / simulations
                star = "*" if max(above, below) > 6 else ""
                cells.append(f"{above:.1f} / {below:.1f}{star}; {both:.0f}; {alone:.0f}")
            yield f"| {name} | {n} | {' | '.join(cells)} |"


def judged(values_NP: Array) -> Array:
    """Whether the bounds are wrong above and below, and the intervals over both and seeds cover."""
    found, n = two_way_mean(values_NP), len(values_NP)
    low, high = found.bounds()
    interval, seed_N = found.interval(), values_NP.mean(axis=1)
    half = stats.t.ppf(0.975, n - 1) * seed_N.std(ddof=1) / n**0.5
    alone = abs(seed_N.mean()) <= half
    return np.array([low > 0, high < 0, interval.low <= 0 <= interval.high, alone], dtype=float)


def main() -> None:
    parser = argparse.ArgumentParser(description="calibrate effects over seeds × prompts")
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--write", action="store_true", help="renew the README's table")
    options = parser.parse_args()
    command = f"python tests/benchmarks/two_way_rates.py --simulations {options.simulations}"
    head = " | ".join(f"{p} prompts" for p in PROMPTS)
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, `{command}`. Percent of studies without any effect whose "
        "one-sided 5 % bound is wrong above / below 0 (* beyond 6); percent of 95 % intervals over "
        "seeds × prompts that cover it; the same of Student's t over seeds alone.",
        "",
        f"| what varies | seeds | {head} |",
        "| --- | --- |" + " --- |" * len(PROMPTS),
        *rates(options.simulations),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        before, begin, rest = README.read_text().partition(BEGIN)
        if END not in rest:
            sys.exit(f"{README} has no {BEGIN.strip()}")
        README.write_text(before + begin + text + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
