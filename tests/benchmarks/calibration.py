"""Coverage of the intervals of a mean, and false traps in studies without an effect.

    python tests/benchmarks/calibration.py [--simulations 400] [--write]

Prints Markdown. `--write` also renews `coverage.json`, which the report's notes read, and the
table in `analysis/README.md`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from recalltrap_analysis.estimates.severity import COMPLETE
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.statistics import coverage
from recalltrap_analysis.statistics.coverage import Calibration, Coverage, NullRate
from recalltrap_analysis.statistics.paired import (
    BOOTSTRAP,
    STUDENT,
    Array,
    bootstrap_t_limits,
    holm,
    sign_flip_p_values,
    student_limits,
)
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
    """Verdicts of whole studies whose true severity is 0 everywhere."""
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
                    found = (table["p_holm"] <= 0.05) & (table["severity"] > 0)
                    anywhere.append(bool(found.any()))
            trap = float(np.mean([verdict == "trap" for verdict in verdicts]))
            any_point = float(np.mean(anywhere))
            yield NullRate(shape, n, POINTS, round(trap, 4), round(any_point, 4))


NO_PARTS = pd.DataFrame({"point": pd.Series(dtype=object)})
PLAN = Design(("kl_weight",), ("K-A", "A-K"), {}, tuple((float(i),) for i in range(POINTS)))


def study_table(values_NP: Array, p_holm_P: Array) -> pd.DataFrame:
    """The columns of a severity table that the verdict reads; shape [N seeds, P grid points]."""
    mean_P = values_NP.mean(axis=0)
    table = pd.DataFrame({"point": pd.Series(list(PLAN.points), dtype=object)})
    for name in ("severity", "recall_difference"):
        table[name] = table[f"{name}_low"] = table[f"{name}_high"] = mean_P
    return table.assign(state=COMPLETE, pairs=values_NP.shape[0], p_holm=p_holm_P)


def main() -> None:
    parser = argparse.ArgumentParser(description="calibrate intervals and verdicts")
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--write", action="store_true", help="renew coverage.json and the README")
    options = parser.parse_args()
    command = f"python tests/benchmarks/calibration.py --simulations {options.simulations}"
    found = Calibration(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        command=command,
        simulations=options.simulations,
        coverage=tuple(measure_coverage(options.simulations)),
        null=tuple(measure_null(options.simulations)),
    )
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
