"""Coverage of the intervals of a mean, false verdicts of whole studies, and the error rates of
the claims ledger's rules.

    python tests/benchmarks/calibration.py [--simulations 400] [--only verdicts|rules] [--write]

Prints Markdown. `--write` also renews `coverage.json`, which the report's notes read, and the
table in `analysis/README.md`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from recalltrap_analysis.claims.comparisons import (
    DifferenceGrid,
    on_average,
    rising,
    somewhere,
)
from recalltrap_analysis.claims.pool import Series
from recalltrap_analysis.claims.spreads import spread_finding
from recalltrap_analysis.claims.verdict import Finding
from recalltrap_analysis.estimates.order_effect import COMPLETE
from recalltrap_analysis.statistics import coverage
from recalltrap_analysis.statistics.coverage import Calibration, Coverage, RuleRate, VerdictRate
from recalltrap_analysis.statistics.margin import LARGER, MARGIN, NOT_LARGER, SMALLER, WITHIN
from recalltrap_analysis.statistics.paired import (
    BOOTSTRAP,
    STUDENT,
    Array,
    bootstrap_t_limits,
    student_limits,
)
from recalltrap_analysis.verdicts.judgement import Judgement
from recalltrap_analysis.verdicts.primary import Sample, judged

SIZES = (3, 5, 10, 20)
TOGETHER = 20  # simulations that share one set of resamples
RESAMPLES = 1999
POINTS = 7
ANALYSIS = Path(__file__).parents[2] / "analysis"
BEGIN, END = "<!-- calibration begin -->\n", "<!-- calibration end -->\n"

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
Limits = Callable[[Array, np.random.Generator], tuple[Array, Array]]


def two_modes(share: float) -> Draw:
    """Seeds fall around 1 with the given probability, else around 0; sd 0.05 within a mode."""

    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        second = (generator.random(shape) < share).astype(float)
        return second + generator.normal(0, 0.05, size=shape)

    return draw


SHAPES: dict[str, tuple[Draw, float, float]] = {
    "normal": (lambda g, shape: g.normal(size=shape), 0.0, 1.0),
    **{
        f"mode of {round(10 * p)} in 10": (two_modes(p), p, float(np.sqrt(p * (1 - p) + 0.0025)))
        for p in (0.5, 0.3, 0.1)
    },
    "lognormal": (
        lambda g, shape: g.lognormal(size=shape),
        float(np.exp(0.5)),
        float(np.sqrt((np.e - 1) * np.e)),
    ),
}
"""Data, true mean, true sd."""


def resampled_means(values_NS: Array, generator: np.random.Generator) -> Array:
    """Bootstrap means of the columns; shape [resamples, S]."""
    n = values_NS.shape[0]
    counts_BN = generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
    return np.asarray(counts_BN @ values_NS / n)


def percentile_limits(values_NS: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    low_S, high_S = np.quantile(resampled_means(values_NS, generator), [0.025, 0.975], axis=0)
    return low_S, high_S


def bca_limits(values_NS: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """Bias-corrected and accelerated (Efron 1987); for a mean the acceleration is skewness/6."""
    mean_BS = resampled_means(values_NS, generator)
    mean_S = values_NS.mean(axis=0)
    below_S = (mean_BS < mean_S).mean(axis=0) + (mean_BS == mean_S).mean(axis=0) / 2
    bias_S = stats.norm.ppf(np.clip(below_S, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    centred_NS = values_NS - mean_S
    cubes_S = (centred_NS**3).sum(axis=0)
    acceleration_S = cubes_S / (6 * (centred_NS**2).sum(axis=0) ** 1.5)
    limits = []
    for level in (0.025, 0.975):
        z_S = bias_S + stats.norm.ppf(level)
        levels_S = stats.norm.cdf(bias_S + z_S / (1 - acceleration_S * z_S))
        columns = zip(mean_BS.T, levels_S, strict=True)
        limits.append(np.array([np.quantile(column, q) for column, q in columns]))
    return limits[0], limits[1]


METHODS: dict[str, Limits] = {
    STUDENT: lambda values_NS, generator: student_limits(values_NS),
    BOOTSTRAP: bootstrap_t_limits,
    "percentile": percentile_limits,
    "BCa": bca_limits,
}


def measure_coverage(simulations: int) -> Iterator[Coverage]:
    """Coverage and median width of every method, shape and size."""
    for shape, (draw, mean, sd) in SHAPES.items():
        for n in SIZES:
            generator = np.random.default_rng([n, *shape.encode()])
            hits: dict[str, list[npt.NDArray[np.bool_]]] = {name: [] for name in METHODS}
            widths: dict[str, list[Array]] = {name: [] for name in METHODS}
            for _ in range(-(-simulations // TOGETHER)):
                values_NS = draw(generator, (n, TOGETHER))
                for name, limits in METHODS.items():
                    low_S, high_S = limits(values_NS, generator)
                    hits[name].append((low_S <= mean) & (mean <= high_S))
                    widths[name].append((high_S - low_S) / sd)
            for name in METHODS:
                share, width = np.mean(hits[name]), np.median(widths[name])
                yield Coverage(name, shape, n, round(float(share), 4), round(float(width), 3))


def on_a_grid(draw: Draw) -> Draw:
    """Draws [N, S * POINTS]: neighbouring grid points share half of their seeds' values."""

    def repeated(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        n, studies = shape
        own = draw(generator, (n, studies, POINTS))
        shared = np.repeat(draw(generator, (n, studies, 1)), POINTS, axis=2)
        return np.where(generator.random(own.shape) < 0.5, own, shared).reshape(n, -1)

    return repeated


DIFFERENCES: dict[str, Draw] = {
    "both orderings normal": lambda g, s: g.normal(size=s) - g.normal(size=s),
    "both with a mode of 3 in 10": lambda g, s: two_modes(0.3)(g, s) - two_modes(0.3)(g, s),
    "both lognormal": lambda g, s: g.lognormal(size=s) - g.lognormal(size=s),
    "K-A with a mode of 3 in 10, A-K steady at its mean": (
        lambda g, s: g.normal(0.3, 0.05, size=s) - two_modes(0.3)(g, s)
    ),
    "A-K with a mode of 3 in 10, K-A steady at its mean": (
        lambda g, s: two_modes(0.3)(g, s) - g.normal(0.3, 0.05, size=s)
    ),
}
"""Differences A-K minus K-A whose mean is 0; the last two are skewed."""
JUDGEMENT = Judgement(MARGIN, 0.5, (), None)


def measure_verdicts(simulations: int) -> Iterator[VerdictRate]:
    """Verdicts of whole studies whose true order effect is the margin everywhere."""
    for shape, draw in DIFFERENCES.items():
        for n in SIZES:
            generator = np.random.default_rng([n, *shape.encode()])
            values_NS = MARGIN + on_a_grid(draw)(generator, (n, simulations))
            studies = values_NS.reshape(n, simulations, POINTS).transpose(1, 0, 2)
            words = [_primary_words(values_NP) for values_NP in studies]
            anywhere = [LARGER in _point_words(values_NP) for values_NP in studies]
            small = [word in (SMALLER, WITHIN, NOT_LARGER) for word in words]
            shares = (words.count(LARGER) / len(words), np.mean(small), np.mean(anywhere))
            yield VerdictRate(shape, n, POINTS, *(round(float(share), 4) for share in shares))


def _primary_words(values_NP: Array) -> str:
    """The verdict on the mean over the grid, in one stratum."""
    sample = Sample(values_NP.mean(axis=1), COMPLETE, len(values_NP))
    return str(judged({(): sample}, JUDGEMENT)[()]["words"])


def _point_words(values_NP: Array) -> list[str]:
    """The readings of the grid points, adjusted by Holm."""
    samples = {
        (place,): Sample(values_N, COMPLETE, len(values_NP))
        for place, values_N in enumerate(values_NP.T)
    }
    return [row["words"] for row in judged(samples, JUDGEMENT).values()]


RULE_SIZES = (3, 5, 8, 10, 20)
WEIGHTS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
SPREAD = 0.14
"""The sd over seeds of a difference in attainment, as `mog/ppo-beta` has it at strong anchors."""
NOISE: dict[str, Draw] = {
    "normal": lambda g, s: g.normal(0, SPREAD, size=s),
    "3 seeds in 10 in a second mode": (
        lambda g, s: (two_modes(0.3)(g, s) - 0.3) * SPREAD / float(np.sqrt(0.21 + 0.0025))
    ),
}
"""What seeds add to a difference: mean 0, one sd."""
RISE_P = np.linspace(0, 1, POINTS)
TRUTHS: dict[str, tuple[Array, dict[str, str]]] = {
    "no difference": (0 * RISE_P, dict.fromkeys(("rising", "somewhere", "on average"), "no")),
    "rises from 0 to the margin": (
        MARGIN * RISE_P, dict.fromkeys(("rising", "somewhere", "on average"), "no")
    ),
    "the margin everywhere": (
        MARGIN + 0 * RISE_P, dict.fromkeys(("rising", "somewhere", "on average"), "no")
    ),
    "rises from 0 to 0.15": (
        0.15 * RISE_P, {"rising": "yes", "somewhere": "yes", "on average": "yes"}
    ),
    "rises from 0 to 0.30": (
        0.30 * RISE_P, {"rising": "yes", "somewhere": "yes", "on average": "yes"}
    ),
    "0.20 everywhere": (
        0.20 + 0 * RISE_P, {"rising": "no", "somewhere": "yes", "on average": "yes"}
    ),
    "rises from −0.20 to 0.30": (
        -0.2 + 0.5 * RISE_P, {"rising": "no", "somewhere": "yes", "on average": "no"}
    ),
}  # fmt: skip
"""The mean difference at each `kl_weight`, and of which rules the claim is true."""
RULES: dict[str, Callable[[DifferenceGrid], Finding]] = {
    "rising": partial(rising, stratum="", name="", weight="kl_weight"),
    "somewhere": partial(somewhere, stratum="", name=""),
    "on average": partial(on_average, stratum="", name=""),
}


def measure_rules(simulations: int) -> Iterator[RuleRate]:
    """Verdicts of the ledger's rules, by truth, shape of the data and number of seeds."""
    for truth, (mean_P, holds) in TRUTHS.items():
        for data, noise in NOISE.items():
            for n in RULE_SIZES:
                generator = np.random.default_rng([n, *data.encode(), *truth.encode()])
                values_NSP = on_a_grid(noise)(generator, (n, simulations))
                values_SPN = values_NSP.reshape(n, simulations, POINTS).transpose(1, 2, 0)
                found: dict[str, list[str]] = {rule: [] for rule in RULES}
                for values_PN in values_SPN + mean_P[:, None]:
                    grid = simulated_grid(values_PN[:, None, :])
                    for rule, judge_grid in RULES.items():
                        found[rule].append(judge_grid(grid).verdict)
                for rule, verdicts in found.items():
                    yield rates(rule, data, truth, holds[rule], n, verdicts)


def measure_spread_rules(simulations: int) -> Iterator[RuleRate]:
    """Verdicts on ratios of spreads over one grid."""
    for ratio, larger, near in ((1.0, "no", "yes"), (2.0, "yes", ""), (4.0, "yes", "no")):
        for data, noise in NOISE.items():
            for n in RULE_SIZES:
                generator = np.random.default_rng([n, round(ratio), *data.encode()])
                arms = (on_a_grid(noise)(generator, (n, simulations)) for _ in range(2))
                ak_SPN, ka_SPN = (
                    arm.reshape(n, simulations, POINTS).transpose(1, 2, 0) for arm in arms
                )
                found: dict[bool, list[str]] = {False: [], True: []}
                for ak_PN, ka_PN in zip(ak_SPN, ratio * ka_SPN, strict=True):
                    grid = simulated_grid(np.stack([ak_PN, ka_PN], axis=1))
                    for comparable, verdicts in found.items():
                        finding = spread_finding(grid.series, [1], [0], "", "", comparable)
                        verdicts.append(finding.verdict)
                truth = f"the sd is {ratio:g} times as large"
                yield rates("larger spread", data, truth, larger, n, found[False])
                yield rates("comparable spreads", data, truth, near, n, found[True])


def simulated_grid(values_PAN: Array) -> DifferenceGrid:
    """A stratum over `kl_weight` whose differences are its values."""
    seeds = tuple(range(values_PAN.shape[2]))
    series = tuple(
        Series({"kl_weight": weight}, (), seeds, values_AN, "complete", frozenset([i]))
        for i, (weight, values_AN) in enumerate(zip(WEIGHTS, values_PAN, strict=True))
    )
    return DifferenceGrid.of(series, lambda values_AN: values_AN)


def rates(
    rule: str, data: str, truth: str, holds: str, seeds: int, verdicts: list[str]
) -> RuleRate:
    names = ("reproduced", "not reproduced", "mixed", "undecided")
    yes, no, mixed, undecided = (round(verdicts.count(name) / len(verdicts), 4) for name in names)
    return RuleRate(rule, data, truth, holds, seeds, yes, no, mixed, undecided)


def with_verdicts(found: Calibration, simulations: int) -> Calibration:
    """The calibration with the rates of whole studies' verdicts measured anew."""
    command = f"python tests/benchmarks/calibration.py --only verdicts --simulations {simulations}"
    made = f"{datetime.now(UTC):%Y-%m-%d}, `{command}`: {simulations} simulations each"
    return replace(found, verdicts=tuple(measure_verdicts(simulations)), verdicts_made=made)


def with_rules(found: Calibration, simulations: int) -> Calibration:
    """The calibration with the rules' rates measured anew."""
    rows = sorted(
        (*measure_rules(simulations), *measure_spread_rules(simulations)),
        key=lambda row: [*RULES, "larger spread", "comparable spreads"].index(row.rule),
    )
    command = f"python tests/benchmarks/calibration.py --only rules --simulations {simulations}"
    made = f"{datetime.now(UTC):%Y-%m-%d}, `{command}`: {simulations} simulations each"
    return replace(found, rules=tuple(rows), rules_made=made)


def main() -> None:
    parser = argparse.ArgumentParser(description="calibrate intervals and verdicts")
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--only", choices=["verdicts", "rules"], help="one part alone")
    parser.add_argument("--write", action="store_true", help="renew coverage.json and the README")
    options = parser.parse_args()
    command = f"python tests/benchmarks/calibration.py --simulations {options.simulations}"
    found = coverage.calibration()
    if options.only is None:
        found = Calibration(
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            command=command,
            simulations=options.simulations,
            coverage=tuple(measure_coverage(options.simulations)),
        )
    if options.only in (None, "verdicts"):
        found = with_verdicts(found, options.simulations)
    if options.only in (None, "rules"):
        found = with_rules(found, options.simulations)
    text = coverage.markdown(found)
    print(text)
    if options.write:
        (ANALYSIS / "recalltrap_analysis/statistics" / coverage.FILE).write_text(found.as_json())
        readme = ANALYSIS / "README.md"
        before, _, rest = readme.read_text().partition(BEGIN)
        if END not in rest:
            sys.exit(f"{shlex.quote(str(readme))} has no calibration section to renew")
        readme.write_text(before + BEGIN + text + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
