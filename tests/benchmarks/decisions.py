"""How often the recommendation is right, wrong and undecided, on resampled seeds of real runs.

    python tests/benchmarks/decisions.py RUN [RUN ...] [--simulations 500] [--write]

A run's seeds stand for all there are: what the rule says of endless copies of them is the right
word. Studies of fewer seeds are drawn from them, with replacement. Beside the run's own orderings
stand invented ones with known answers: A-K is moved so that its mean lead over K-A within the
recall budget is exact. Prints Markdown; `--write` renews the table in `analysis/README.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import recalltrap as rt
from recalltrap.streams import stream
from recalltrap_analysis.estimates.candidates import (
    Candidate,
    Pair,
    StratumEvidence,
    evidence_by_stratum,
)
from recalltrap_analysis.estimates.order_effect import ALIGN_THEN_KD, COMPLETE, KD_THEN_ALIGN
from recalltrap_analysis.number_format import setting_text
from recalltrap_analysis.recommendation.choice import ALIGN_FIRST, DISTIL_FIRST, UNDECIDED, choose
from recalltrap_analysis.recommendation.pair_verdicts import pair_verdicts
from recalltrap_analysis.recommendation.recommendation import recommend
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import record_of
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.margin import MARGIN
from recalltrap_analysis.statistics.student import ONE_SIDED

SIZES = (3, 5, 8, 10, 20)
CHECKED = 2
COPIES = 400
LEADS = (-0.1, 0.0, 0.05, 0.1, 0.15, 0.25)
README = Path(__file__).parents[2] / "analysis/README.md"
BEGIN, END = "<!-- decisions begin -->\n", "<!-- decisions end -->\n"


@dataclass(frozen=True)
class Question:
    """Evidence whose answer is known."""

    name: str
    evidence: StratumEvidence
    answer: str
    """The right word; where that is *undecided*, every decision counts as wrong."""
    ordering: str
    """What it stands for: another word for the same ordering is right, too."""


def drawn(evidence: StratumEvidence, rows_N: np.ndarray) -> StratumEvidence:
    """The evidence of some of its seeds, any of them repeatedly."""

    def candidate(one: Candidate) -> Candidate:
        return replace(
            one,
            seeds=tuple(range(len(rows_N))),
            best_N=one.best_N[rows_N],
            recall_N=one.recall_N[rows_N],
            place_N=one.place_N[rows_N],
            recall_p_prime_N=one.recall_p_prime_N[rows_N],
        )

    def pair(one: Pair) -> Pair:
        return replace(
            one,
            within_N=one.within_N[rows_N],
            recall_N=one.recall_N[rows_N],
            equal_recall_N=one.equal_recall_N[rows_N],
            best_grid_N=one.best_grid_N[rows_N],
            equal_weight_N=one.equal_weight_N[rows_N],
        )

    return replace(
        evidence,
        candidates=tuple(map(candidate, evidence.candidates)),
        pairs=tuple(map(pair, evidence.pairs)),
    )


def told_of_endless_seeds(evidence: StratumEvidence) -> tuple[str, str]:
    """The word and ordering for so many copies of the seeds that nothing is left to chance."""
    n = len(evidence.candidates[0].seeds)
    found = recommend(drawn(evidence, np.tile(np.arange(n), COPIES)), MARGIN)
    return found.word, found.ordering


def with_lead(evidence: StratumEvidence, lead: float) -> StratumEvidence:
    """K-A and A-K alone, A-K moved to an exact mean lead within the budget, with its own spread.

    Both keep the budget in the seeds in which K-A does.
    """
    ka, ak = (
        next(one for one in evidence.candidates if one.ordering == name)
        for name in (KD_THEN_ALIGN, ALIGN_THEN_KD)
    )
    [pair] = [
        one for one in evidence.pairs if (one.first, one.second) == (ALIGN_THEN_KD, KD_THEN_ALIGN)
    ]
    moved = pair.within_N - np.nanmean(pair.within_N) + lead
    none = np.full_like(moved, np.nan)
    return replace(
        evidence,
        candidates=(ka, replace(ak, best_N=ka.best_N + moved)),
        pairs=(replace(pair, within_N=moved, equal_recall_N=none, best_grid_N=none),),
    )


def questions(folder: str) -> Iterator[Question]:
    """The strata of a run, and where both orderings keep the budget, the invented leads."""
    run = rt.open_run(folder)
    kind, cells, axes = record_of(run.study.kind), run.planned(), tuple(run.axes)
    found = evidence_by_stratum(
        cell_outcomes(run.table("metrics"), axes, kind.reward_supremum),
        Design.of(cells, axes), cells, run.frame("costs"), kind, kind.recall_budget, "nats",
    )  # fmt: skip
    for evidence in found:
        if any(one.state != COMPLETE for one in evidence.candidates):
            continue
        where = ", ".join(f"{axis} {setting_text(v)}" for axis, v in evidence.stratum.items())
        name = f"{run.study.name}, {where}"
        yield Question(name, evidence, *told_of_endless_seeds(evidence))
        orderings = {one.ordering: one for one in evidence.candidates}
        if all(orderings[name].keeps_N.all() for name in (KD_THEN_ALIGN, ALIGN_THEN_KD)):
            for lead in LEADS:
                answer = (ALIGN_FIRST, ALIGN_THEN_KD)
                if lead <= MARGIN:
                    answer = (DISTIL_FIRST, KD_THEN_ALIGN)
                title = f"its seeds, A-K moved to a lead of {lead:+.2f}"
                yield Question(title, with_lead(evidence, lead), *answer)


def losses(evidence: StratumEvidence) -> dict[str, float]:
    """What choosing an ordering loses against the best one, over all seeds.

    Means of the best points within the recall budget, in the seeds in which both have one;
    infinite for an ordering that keeps it in fewer than half of the seeds where another does.
    """
    best = {one.ordering: one.best_N for one in evidence.candidates}
    keeps = {one.ordering: bool(one.keeps_N.mean() >= 0.5) for one in evidence.candidates}
    found = {}
    for name, values_N in best.items():
        rivals = [best[other] - values_N for other in best if other != name and keeps[other]]
        leads = [float(np.nanmean(lead)) for lead in rivals if np.isfinite(lead).any()]
        found[name] = max([0.0, *leads]) if keeps[name] or not rivals else float("inf")
    return found


def rates(question: Question, size: int, simulations: int) -> tuple[float, ...]:
    """Shares of studies of so many seeds that are right, wrong, and lose more than the margin."""
    evidence = question.evidence
    n = len(evidence.candidates[0].seeds)
    generator = stream(size, f"decisions/{question.name}")
    lost = losses(evidence)
    counts: Counter[str] = Counter()
    for simulation in range(simulations):
        study = drawn(evidence, generator.integers(n, size=size))
        # What `recommend` says, without its sentences, which take most of its time.
        found = choose(study, pair_verdicts(study, MARGIN, ONE_SIDED), MARGIN, ONE_SIDED)
        if simulation < CHECKED:
            assert found.word == recommend(study, MARGIN).word
        if found.word == UNDECIDED:
            continue
        right = found.ordering == question.ordering and question.answer != UNDECIDED
        counts["right" if right else "wrong"] += 1
        counts["harmful"] += not right and lost[found.ordering] > MARGIN
    return tuple(counts[name] / simulations for name in ("right", "wrong", "harmful"))


def table(folders: Sequence[str], simulations: int) -> str:
    """Right / wrong by number of seeds, in percent."""
    lines = [
        "| evidence | right word | " + " | ".join(f"{size} seeds" for size in SIZES) + " |",
        "| --- | --- |" + " --- |" * len(SIZES),
    ]
    for folder in folders:
        for question in questions(folder):
            cells = []
            for size in SIZES:
                found = rates(question, size, simulations)
                right, wrong, harmful = (f"{100 * one:.0f}" for one in found)
                cells.append(f"{right} / {wrong} ({harmful})" + "*" * (found[1] > 0.05))
            lines.append(f"| {question.name} | {question.answer} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, and write it on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of finished mixture runs")
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    command = f"python tests/benchmarks/decisions.py RUN ... --simulations {args.simulations}"
    names = ", ".join(f"`{'/'.join(folder.rstrip('/').split('/')[-2:])}`" for folder in args.runs)
    text = (
        f"{datetime.now(UTC):%Y-%m-%d}, `{command}` with the seeds of {names}. Percent of studies "
        "that choose the right ordering / a wrong one (in brackets: one that is worse than the "
        "best by more than the margin, over all seeds); the rest is undecided. * where more than "
        "5 % are wrong.\n\n" + table(args.runs, args.simulations)
    )
    print(text)
    if args.write:
        page = README.read_text()
        before, _, rest = page.partition(BEGIN)
        _, found, after = rest.partition(END)
        if not found:
            sys.exit(f"{README} has no {BEGIN.strip()}")
        README.write_text(f"{before}{BEGIN}{text}{END}{after}")


if __name__ == "__main__":
    main()
