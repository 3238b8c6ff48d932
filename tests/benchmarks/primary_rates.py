"""Error rates and power of the primary endpoint: its words, its strata, its looks.

    python tests/benchmarks/primary_rates.py [--simulations 20000] [--write]

Prints Markdown; `--write` also renews the table in `analysis/README.md`. Under a minute.
Shapes: S simulated studies, N seeds.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from recalltrap_analysis.statistics.looks import nominal_level
from recalltrap_analysis.statistics.margin import (
    MARGIN,
    SMALL_FROM,
    Decisions,
    decision_words,
)
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.verdicts.judgement import Judgement
from recalltrap_analysis.verdicts.primary import Sample, judged

BoolArray = npt.NDArray[np.bool_]
JUDGEMENT = Judgement(MARGIN, 0.5, (), None)
CHECKED = 5
"""Studies of every cell in which the fast decisions are compared with the page's."""
README = Path(__file__).parents[2] / "analysis/README.md"
BEGIN, END = "<!-- primary begin -->\n", "<!-- primary end -->\n"
SIZES = (3, 5, 8, 10, 20)
SPREAD = 0.14 * ((1 + 6 * 0.5) / 7) ** 0.5
"""Of a mean over seven KL weights whose differences have an sd of 0.14 and a correlation of 0.5."""
STRATA = 4
PLANS = ((5, 8, 12), (3, 6, 9, 12), (5, 12), (8, 20))

Draw = Callable[[np.random.Generator, tuple[int, ...], float], Array]
"""From a generator, a shape and a true mean to one difference per seed."""


def trapped(share: float) -> Draw:
    """A share of the seeds carries the whole difference, the others none; sd 0.02 within a mode."""

    def draw(generator: np.random.Generator, shape: tuple[int, ...], mean: float) -> Array:
        hit = generator.random(shape) < share
        return hit * mean / share + generator.normal(0, 0.02, size=shape)

    return draw


DATA: dict[str, Draw] = {
    "normal, sd 0.11": lambda g, shape, mean: g.normal(mean, SPREAD, size=shape),
    "3 seeds in 10 carry it": trapped(0.3),
    "1 seed in 10 carries it": trapped(0.1),
}
TRUTHS = (-0.2, 0.0, MARGIN, 0.1, 0.16, 0.2)


def decisions(values_KSN: Array, level: float) -> dict[str, BoolArray]:
    """The four decisions in every study's K strata, by Holm over them; shape [K, S] each.

    As `judged` makes them, for all studies at once; the first few are compared with it.
    """
    n = values_KSN.shape[2]
    mean_KS = values_KSN.mean(axis=2)
    error_KS = values_KSN.std(axis=2, ddof=1) / n**0.5
    t_KS = {side: (mean_KS - side * MARGIN) / error_KS for side in (1, -1)}
    p = {
        "larger": stdtr(n - 1, -t_KS[1]),
        "smaller": stdtr(n - 1, t_KS[-1]),
        "not_larger": stdtr(n - 1, t_KS[1]),
        "not_smaller": stdtr(n - 1, -t_KS[-1]),
    }
    found = {name: holm_columns(p_KS) <= level for name, p_KS in p.items()}
    for study in range(min(CHECKED, values_KSN.shape[1])):
        samples = {(k,): Sample(one[study], "complete", n) for k, one in enumerate(values_KSN)}
        rows = judged(samples, JUDGEMENT)
        for k, row in enumerate(rows.values()):
            if level == row["level"]:
                here = Decisions(**{name: bool(one[k, study]) for name, one in found.items()})
                assert decision_words(here, n) == row["words"]
    return found


def holm_columns(p_KS: Array) -> Array:
    """Holm's adjusted p-values over the rows of each column."""
    order_KS = np.argsort(p_KS, axis=0)
    factors_K = np.arange(len(p_KS), 0, -1)[:, None]
    stepped_KS = np.maximum.accumulate(np.take_along_axis(p_KS, order_KS, 0) * factors_K, axis=0)
    adjusted_KS = np.empty_like(p_KS)
    np.put_along_axis(adjusted_KS, order_KS, np.minimum(stepped_KS, 1.0), axis=0)
    return adjusted_KS


def word_rates(simulations: int) -> Iterator[str]:
    """Lines of the table of words by truth, data and number of seeds."""
    yield (
        "Words in one stratum: percent *larger* / *within* or *not larger* / *not seen* / "
        "*smaller* (the rest is undecided); * where more than 5 % contradict the truth."
    )
    yield ""
    yield "| true mean | data | " + " | ".join(f"{n} seeds" for n in SIZES) + " |"
    yield "| --- | --- |" + " --- |" * len(SIZES)
    for mean in TRUTHS:
        for name, draw in DATA.items():
            cells = []
            for n in SIZES:
                generator = np.random.default_rng([n, round(1000 * mean) + 1000, *name.encode()])
                found = decisions(draw(generator, (1, simulations, n), mean), 0.05)
                cells.append(_word_cell(found, mean, n, simulations))
            yield f"| {mean:g} | {name} | {' | '.join(cells)} |"


def _word_cell(found: dict[str, BoolArray], mean: float, n: int, simulations: int) -> str:
    larger, smaller = float(found["larger"].mean()), float(found["smaller"].mean())
    small = float((found["not_larger"] & ~found["smaller"]).mean())
    shown, seen = (small, 0.0) if n >= SMALL_FROM else (0.0, small)
    wrong = larger if mean <= MARGIN else shown + smaller
    wrong += smaller if -MARGIN <= mean <= MARGIN else 0.0
    numbers = " / ".join(f"{100 * share:.0f}" for share in (larger, shown, seen, smaller))
    sure: float = 0.05 + 2 * (0.05 / simulations) ** 0.5
    return numbers + "*" * (wrong > sure)


SCENARIOS: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "both at the margin everywhere": ((MARGIN,) * STRATA, (MARGIN,) * STRATA),
    "order effect 0.2 everywhere, anchor at the margin": ((0.2,) * STRATA, (MARGIN,) * STRATA),
    "order effect 0.2 in half, anchor at the margin": (
        (0.2, 0.2, MARGIN, MARGIN), (MARGIN,) * STRATA
    ),
    "order effect 0.2 everywhere, anchor 0.2 in half": (
        (0.2,) * STRATA, (0.2, 0.2, MARGIN, MARGIN)
    ),
}  # fmt: skip
"""True means of the order effect and of the anchor part in each stratum."""
SHARED = 0.6
"""Correlation of the two over seeds, which is what makes a selection by the first dangerous."""


def sequence_rates(simulations: int) -> Iterator[str]:
    """Lines of the table of the fixed sequence over several strata."""
    yield (
        f"The fixed sequence in {STRATA} strata (Holm; normal, correlation {SHARED:g} of order "
        "effect and anchor part): percent of studies with any false *larger* of the order effect "
        "/ of the anchor part; and of true ones found, order effect / anchor part."
    )
    yield ""
    yield "| the truth | looks | " + " | ".join(f"{n} seeds" for n in SIZES) + " |"
    yield "| --- | --- |" + " --- |" * len(SIZES)
    for name, (first, second) in SCENARIOS.items():
        for looks in ((), (5, 8, 10)):
            cells = [
                _sequence_cell(simulations, n, first, second, looks, name)
                if not looks or n == looks[-1]
                else "–"
                for n in SIZES
            ]
            yield f"| {name} | {', '.join(map(str, looks)) or 'one'} | {' | '.join(cells)} |"


def _sequence_cell(
    simulations: int,
    n: int,
    first: Sequence[float],
    second: Sequence[float],
    looks: tuple[int, ...],
    name: str,
) -> str:
    """Any look may claim; a study without planned looks has the one at its end."""
    generator = np.random.default_rng([n, len(looks), *name.encode()])
    shape = (STRATA, simulations, n)
    shared_KSN = generator.normal(size=shape)
    own_KSN = SHARED * shared_KSN + (1 - SHARED**2) ** 0.5 * generator.normal(size=shape)
    truth = np.array([first, second])[:, :, None, None]
    values = truth + SPREAD * np.stack([shared_KSN, own_KSN])
    level = nominal_level(looks, tests=STRATA)
    found = np.zeros((2, STRATA, simulations), dtype=bool)
    for look in looks or (n,):
        said = np.stack([decisions(one[:, :, :look], level)["larger"] for one in values])
        said[1] &= said[0]  # the anchor part waits for the order effect
        found |= said
    real = truth[:, :, 0, 0] > MARGIN
    false = (found & ~real[:, :, None]).any(axis=1).mean(axis=1)
    parts = " / ".join(f"{100 * share:.1f}" for share in false)
    power = [f"{100 * found[i, real[i]].mean():.0f}" if real[i].any() else "–" for i in range(2)]
    return f"{parts}; {' / '.join(power)}"


def look_rates(simulations: int) -> Iterator[str]:
    """Lines of the table of looks, planned and by hand."""
    yield (
        "Looks at a true mean of exactly the margin, one stratum, stopping at the first *larger*: "
        "percent of studies that any page calls *larger*. *By hand*: each number of seeds is "
        "judged as the last one when it is reached, with the looks before it known, and extended "
        "if it isn't *larger*; in brackets the last page alone."
    )
    yield ""
    yield "| data | looks | unadjusted | planned | by hand |"
    yield "| --- | --- | --- | --- | --- |"
    for name, draw in DATA.items():
        for looks in PLANS:
            generator = np.random.default_rng([*looks, *name.encode()])
            values_SN = draw(generator, (simulations, looks[-1]), MARGIN)
            p_LS = np.stack([_p_larger(values_SN[:, :n]) for n in looks])
            planned = nominal_level(looks)
            by_hand = np.array([nominal_level(looks[: i + 1]) for i in range(len(looks))])
            rates = (
                (p_LS <= 0.05).any(axis=0).mean(),
                (p_LS <= planned).any(axis=0).mean(),
                (p_LS <= by_hand[:, None]).any(axis=0).mean(),
                (p_LS[-1] <= planned).mean(),
            )
            one, two, three, last = (f"{100 * rate:.1f}" for rate in rates)
            listed = ", ".join(map(str, looks))
            yield f"| {name} | {listed} | {one} | {two} | {three} ({last}) |"


def _p_larger(values_SN: Array) -> Array:
    """p-values of many studies at once, as `p_larger` has them."""
    n = values_SN.shape[1]
    error_S = values_SN.std(axis=1, ddof=1) / n**0.5
    return np.asarray(stdtr(n - 1, (MARGIN - values_SN.mean(axis=1)) / error_S))


def main() -> None:
    parser = argparse.ArgumentParser(description="calibrate the primary endpoint")
    parser.add_argument("--simulations", type=int, default=20_000)
    parser.add_argument("--write", action="store_true", help="renew the README's tables")
    options = parser.parse_args()
    command = f"python tests/benchmarks/primary_rates.py --simulations {options.simulations}"
    lines = [f"{datetime.now(UTC):%Y-%m-%d}, `{command}`.", ""]
    for table in (word_rates, sequence_rates, look_rates):
        lines += [*table(options.simulations), ""]
    text = "\n".join(lines[:-1]) + "\n"
    print(text)
    if options.write:
        write_between(README, text, BEGIN, END)


def write_between(readme: Path, text: str, begin: str, end: str) -> None:
    """Renew the part of a file between two marks."""
    before, _, rest = readme.read_text().partition(begin)
    if end not in rest:
        sys.exit(f"{shlex.quote(str(readme))} has no {begin.strip()}")
    readme.write_text(before + begin + text + end + rest.partition(end)[2])


if __name__ == "__main__":
    main()
