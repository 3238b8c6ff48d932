"""How often the recommendation decides, and how often it is right: on resampled seeds of real runs.

    python tests/benchmarks/decision_rates.py --storage URI [RUN ...] [--resamples 200] [--write]

A finished run's seeds are taken for the whole population, so that the answer is known: what the rule
says when every seed is there two hundred times. Then studies of 3 to 20 seeds are drawn from them
with replacement, and the whole recommendation runs on each. Prints Markdown; `--write` also renews
the table in `analysis/README.md`. Shapes: N seeds, W KL weights.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import recalltrap as rt
from recalltrap_analysis.estimates.attainment import reward_unit
from recalltrap_analysis.estimates.candidates import (
    Spending,
    StratumEvidence,
    ends_compact,
    spent_after_p_prime,
    stratum_evidence,
)
from recalltrap_analysis.estimates.order_effect import KD_THEN_ALIGN
from recalltrap_analysis.estimates.reward_recall import Curve, other_axes, reward_recall_curves
from recalltrap_analysis.number_format import point_text
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.verdicts.choice import UNDECIDED
from recalltrap_analysis.verdicts.judgement import judgement_of
from recalltrap_analysis.verdicts.recommendation import Recommendation, recommend

README = Path(__file__).parents[2] / "analysis/README.md"
BEGIN, END = "<!-- decisions begin -->\n", "<!-- decisions end -->\n"
SIZES = (3, 5, 8, 10, 20)
RUNS = ("mog/ppo-beta", "mog/dpo-beta", "mog/ppo-spacing", "mog/dpo-spacing")
COPIES = 200


@dataclass(frozen=True)
class Stratum:
    """One stratum of a run: its candidates' curves, K-A first, and what judges them."""

    run: str
    name: str
    arms: tuple[Curve, ...]
    values: dict[str, Any]
    spending: Spending
    planned: tuple[str, ...]
    unit: str
    margin: float
    recall_budget: float

    def evidence(self, drawn: npt.NDArray[np.int64]) -> StratumEvidence:
        """The evidence of a study of these seeds, by place; one may come more than once."""
        return stratum_evidence(
            [of_seeds(arm, drawn) for arm in self.arms],
            self.values,
            self.recall_budget,
            unit=self.unit,
            spending=self.spending,
            planned=self.planned,
        )

    def decide(self, drawn: npt.NDArray[np.int64]) -> Recommendation:
        """What the whole recommendation says of a study of these seeds."""
        return recommend(self.evidence(drawn), self.margin)


def of_seeds(arm: Curve, drawn: npt.NDArray[np.int64]) -> Curve:
    """A curve of other seeds."""
    arrays = {
        field.name: getattr(arm, field.name)[drawn]
        for field in fields(arm)
        if isinstance(getattr(arm, field.name), np.ndarray)
    }
    return replace(arm, seeds=tuple(arm.seeds[i] for i in drawn), **arrays)


def strata_of(run: str, storage: str) -> Iterator[Stratum]:
    """The strata of a finished run."""
    results = rt.open_run(run, storage=storage)
    kind, axes = record_of(results.study.kind), tuple(results.axes)
    cells = results.planned()
    design = Design.of(cells, axes)
    outcomes = cell_outcomes(results.table("metrics"), axes, kind.reward_supremum)
    judgement = judgement_of(results, kind, outcomes)
    orderings = {cell.ordering.name: cell.ordering for cell in cells}
    names = [name for name in design.orderings if ends_compact(orderings[name])]
    names.sort(key=lambda name: name != KD_THEN_ALIGN)
    wanted = [cell for cell in cells if cell.ordering.name in names]
    spending = spent_after_p_prime(results.table("costs").to_pandas(), wanted, axes, kind)
    curves = reward_recall_curves(outcomes, design, kind.kl_weight)
    others = other_axes(design, kind.kl_weight)
    for stratum in dict.fromkeys(stratum for stratum, _ in curves):
        yield Stratum(
            run, point_text(stratum, others),
            tuple(curves[stratum, name] for name in names if (stratum, name) in curves),
            dict(zip(others, stratum, strict=True)), spending, design.orderings,
            reward_unit(outcomes), judgement.margin, judgement.recall_budget,
        )  # fmt: skip


def losses(stratum: Stratum) -> dict[str, float]:
    """What choosing an ordering loses against the best one, on the whole population.

    Means of the best point within the recall budget, over the seeds in which both have one;
    infinite for an ordering that keeps the budget in fewer than half of the seeds.
    """
    everyone = stratum.evidence(np.arange(len(stratum.arms[0].seeds)))
    best: dict[str, Array] = {one.ordering: one.best_N for one in everyone.candidates}
    keeps = {name: float(np.isfinite(values).mean()) >= 0.5 for name, values in best.items()}
    found = {}
    for name, values_N in best.items():
        rivals = [best[other] for other in best if other != name and keeps[other]]
        leads = [
            float(np.nanmean(other_N - values_N))
            for other_N in rivals
            if np.isfinite(other_N - values_N).any()
        ]
        found[name] = max([0.0, *leads]) if keeps[name] or not rivals else float("inf")
    return found


def rates(stratum: Stratum, seeds: int, resamples: int, truth: Recommendation) -> str:
    """Right / wrong (of which harmful) of so many resampled studies, in percent."""
    generator = np.random.default_rng([seeds, *stratum.run.encode(), *stratum.name.encode()])
    population = len(stratum.arms[0].seeds)
    lost = losses(stratum)
    counts: Counter[str] = Counter()
    for _ in range(resamples):
        found = stratum.decide(generator.integers(0, population, size=seeds))
        if found.word == UNDECIDED:
            counts["undecided"] += 1
        elif found.word == truth.word or found.ordering == truth.ordering != "":
            counts["right"] += 1
        else:
            counts["wrong"] += 1
            counts["harmful"] += lost[found.ordering] > stratum.margin
    right, wrong, harmful = (100 * counts[n] / resamples for n in ("right", "wrong", "harmful"))
    return f"{right:.0f} / {wrong:.0f} ({harmful:.0f})" + "*" * (wrong > 5)


def table(runs: Sequence[str], storage: str, resamples: int) -> Iterator[str]:
    """The lines of the table."""
    yield (
        "Whole recommendations on resampled seeds: percent right / wrong (in brackets: of those "
        "that choose an ordering worse than the best by more than the margin), the rest undecided; "
        "* where more than 5 % are wrong. Right: the ordering that the whole population says. "
        "Where that is undecided, any decision counts as wrong."
    )
    yield ""
    yield "| run | stratum | known answer | " + " | ".join(f"{n} seeds" for n in SIZES) + " |"
    yield "| --- | --- | --- |" + " --- |" * len(SIZES)
    for run in runs:
        for stratum in strata_of(run, storage):
            everyone = np.tile(np.arange(len(stratum.arms[0].seeds)), COPIES)
            truth = stratum.decide(everyone)
            cells = " | ".join(rates(stratum, n, resamples, truth) for n in SIZES)
            yield f"| `{run}` | {stratum.name} | {truth.word} | {cells} |"
            print(".", end="", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="calibrate the recommendation")
    parser.add_argument("runs", nargs="*", default=RUNS, metavar="RUN")
    parser.add_argument("--storage", required=True)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--write", action="store_true", help="renew the README's table")
    options = parser.parse_args()
    command = f"python tests/benchmarks/decision_rates.py --resamples {options.resamples}"
    lines = [f"{datetime.now(UTC):%Y-%m-%d}, `{command}`.", ""]
    text = "\n".join([*lines, *table(options.runs, options.storage, options.resamples)]) + "\n"
    print(text)
    if options.write:
        before, _, rest = README.read_text().partition(BEGIN)
        if END not in rest:
            sys.exit(f"{README} has no {BEGIN.strip()}")
        README.write_text(before + BEGIN + text + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
