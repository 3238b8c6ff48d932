"""Coverage of the intervals of a mean, false traps in studies without an effect, and the error
rates of the claims ledger's rules.

    python tests/benchmarks/calibration.py [--simulations 400] [--only rules] [--write]

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
import pandas as pd
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
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.statistics import coverage
from recalltrap_analysis.statistics.coverage import Calibration, Coverage, NullRate, RuleRate
from recalltrap_analysis.statistics.paired import (
    BOOTSTRAP,
    STUDENT,
    Array,
    bootstrap_t_limits,
    holm,
    sign_flip_p_values,
    student_limits,
)
from recalltrap_analysis.verdicts.margin import MARGIN
from recalltrap_analysis.verdicts.summary import judge

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


NULLS: dict[str, Draw] = {
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
"""Differences A-K minus K-A whose mean is 0. The last two are skewed, which sign flips don't
assume away."""


def measure_null(simulations: int) -> Iterator[NullRate]:
    """Verdicts of whole studies whose true order effect is 0 everywhere."""
    for shape, draw in NULLS.items():
        for n in SIZES:
            generator = np.random.default_rng([n, *shape.encode()])
            verdicts: list[str] = []
            anywhere: list[bool] = []
            for _ in range(-(-simulations // TOGETHER)):
                values_NS = on_a_grid(draw)(generator, (n, TOGETHER))
                p_S = sign_flip_p_values(values_NS, generator)
                for study in np.arange(values_NS.shape[1]).reshape(TOGETHER, POINTS):
                    table = study_table(values_NS[:, study], holm(p_S[study]))
                    verdicts.append(judge(table, NO_PARTS, PLAN)[0])
                    found = (table["p_holm"] <= 0.05) & (table["order_effect"] > 0)
                    anywhere.append(bool(found.any()))
            trap = float(np.mean([verdict == "trap" for verdict in verdicts]))
            any_point = float(np.mean(anywhere))
            yield NullRate(shape, n, POINTS, round(trap, 4), round(any_point, 4))


NO_PARTS = pd.DataFrame({"point": pd.Series(dtype=object)})
PLAN = Design(("kl_weight",), ("K-A", "A-K"), {}, tuple((float(i),) for i in range(POINTS)))


def study_table(values_NP: Array, p_holm_P: Array) -> pd.DataFrame:
    """The columns of a table of order effects that the verdict reads; shape [N seeds, P points]."""
    mean_P = values_NP.mean(axis=0)
    table = pd.DataFrame({"point": pd.Series(list(PLAN.points), dtype=object)})
    for name in ("order_effect", "recall_difference"):
        table[name] = table[f"{name}_low"] = table[f"{name}_high"] = mean_P
    return table.assign(state=COMPLETE, pairs=values_NP.shape[0], p_holm=p_holm_P)


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
    parser.add_argument("--only", choices=["rules"], help="the claims ledger's rules alone")
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
            null=tuple(measure_null(options.simulations)),
        )
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
