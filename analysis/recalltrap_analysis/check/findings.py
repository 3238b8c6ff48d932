"""All that a study's references say of it before it runs: the check, as numbers and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa

from recalltrap.errors import InputError
from recalltrap.graph import Cell
from recalltrap_analysis.check.anchor_part import AnchorPart, Curves, anchor_part
from recalltrap_analysis.check.decision import Decision, decide
from recalltrap_analysis.check.hits import Hits, hit_table
from recalltrap_analysis.check.references import Pair, checkable, read_pairs
from recalltrap_analysis.check.scorers import ScorerGain, scorer_gains
from recalltrap_analysis.estimates.attainment import reward_unit, usual_margin
from recalltrap_analysis.estimates.references import reference_rows
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.kind_record import KindRecord
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.verdicts.scores import scorers


@dataclass(frozen=True)
class PointFinding:
    """One grid point: the anchor part to expect, and the word on it."""

    point: GridPoint
    part: AnchorPart
    decision: Decision


@dataclass(frozen=True)
class Findings:
    """The check of a study.

    `points` stand in the order of the grid; those without a known unit are left out. `hits` has a
    list of thresholds for every pair of `pairs`. `lacking`: why references can't be read, or empty.
    """

    axes: tuple[str, ...]
    kind: KindRecord
    unit: str
    margin: float
    pairs: tuple[Pair, ...]
    hits: tuple[tuple[Hits, ...], ...]
    points: tuple[PointFinding, ...]
    planned: int
    design: Design
    lacking: str = ""
    scorers: tuple[ScorerGain, ...] = ()
    """By every scorer what the reward picks from each reference; of every pair."""

    @property
    def samples(self) -> int:
        """Of each reference in each seed; the fewest."""
        return min(one.samples for pair in self.pairs for one in (*pair.prime, *pair.second))

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per grid point: the axes, the word, and the numbers behind it."""
        records = []
        for found in self.points:
            part, decision = found.part, found.decision
            estimate = part.spread.estimate()
            record: dict[str, Any] = dict(zip(self.axes, found.point, strict=True))
            record |= {"point": found.point, "word": decision.word, "why": decision.why}
            record |= {
                "anchor_part": estimate.value,
                "anchor_part_low": estimate.low,
                "anchor_part_high": estimate.high,
                "at_least": decision.low,
                "at_most": decision.high,
                "best_of_n_anchor_part": part.best_of_n,
            }
            for name, anchor in (("p_prime", part.prime), ("p_second", part.second)):
                record |= {
                    f"optimum_reward_{name}": anchor.reward,
                    f"best_of_n_reward_{name}": anchor.best_of_n,
                    f"n_{name}": anchor.n,
                    f"effective_samples_{name}": anchor.effective,
                    f"bias_{name}": anchor.bias,
                    f"unseen_{name}": anchor.unseen,
                }
                for way, means in anchor.chosen.items():
                    for quality, value in means.items():
                        record[f"{way.replace(' ', '_')}_{quality}_{name}"] = value
            records.append(record | {"seeds": len(part.pair.seeds), "method": part.spread.factors})
        return pd.DataFrame.from_records(records)


def check_findings(
    metrics: pa.Table,
    cells: Sequence[Cell],
    store: ArtifactReader,
    axes: Sequence[str],
    kind: str,
    margin: float | None = None,
) -> Findings:
    """Check a study by its references.

    Args:
        metrics: A `metrics` table of p' and p''.
        cells: The cells whose references stand.
        store: Holds them.
        axes: The grid's axes.
        kind: The study's kind, by name.
        margin: The largest anchor part that doesn't matter, in the run's unit; None: as usual.

    Raises:
        InputError: the kind can't be checked, or rewards have neither a supremum nor a deviation.
    """
    record = checkable(kind)
    outcomes = cell_outcomes(metrics, axes, record.reward_supremum)
    unit = reward_unit(outcomes)
    if not unit:
        raise InputError(
            "the reward has no supremum, and p' no metric reward_sd: nothing says what is large"
        )
    margin = usual_margin(unit) if margin is None else margin
    rows = reference_rows(outcomes, axes, record.optimum_check)
    rows = rows.assign(supremum=outcomes.loc[rows.index, "reward_supremum"])
    pairs, lacking = read_pairs(cells, axes, record, store, rows)
    hits = [hit_table(one.prime, one.second, one.seeds, one.suprema) for one in pairs]
    design = Design.of(cells, axes)
    parts: dict[GridPoint, AnchorPart] = {}
    names, gains = scorers(outcomes, "p_prime"), list[ScorerGain]()
    looks = 0
    for pair in pairs:
        curves = Curves(pair)
        gains += scorer_gains(pair, names, curves)
        of_weight = {
            beta: anchor_part(pair, beta, curves)
            for beta in dict.fromkeys(beta for _, beta in pair.points)
        }
        looks += len(of_weight)
        parts |= {point: part for point, beta in pair.points if (part := of_weight[beta])}
    points = [
        PointFinding(point, parts[point], decide(parts[point], margin, looks))
        for point in design.points
        if point in parts
    ]
    return Findings(
        axes=tuple(axes),
        kind=record,
        unit=unit,
        margin=margin,
        pairs=tuple(pairs),
        hits=tuple(map(tuple, hits)),
        points=tuple(points),
        planned=len(design.points),
        design=design,
        lacking=lacking,
        scorers=tuple(gains),
    )
