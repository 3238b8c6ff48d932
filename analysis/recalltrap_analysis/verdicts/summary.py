"""The run in one sentence: how severe the trap is, where it comes from, what avoiding it costs.

What can't be said is said to be unsayable, with the reason. Nothing is drawn or written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from recalltrap.graph import Cell
from recalltrap.kind import Metric, metric_of
from recalltrap.streams import stream
from recalltrap_analysis.estimates.decomposition import TITLES, decomposition_table
from recalltrap_analysis.estimates.missing_metrics import lacking_values
from recalltrap_analysis.estimates.order_effect import (
    COMPLETE,
    flips_for,
    order_effect_table,
    pair_orderings,
)
from recalltrap_analysis.number_format import (
    count_text,
    decimal_text,
    p_text,
    point_text,
    row_interval,
    setting_text,
    signed_text,
)
from recalltrap_analysis.runs.design import Design
from recalltrap_analysis.runs.kind_record import KindRecord, record_of
from recalltrap_analysis.runs.protocol import Run
from recalltrap_analysis.runs.wide_tables import cell_outcomes
from recalltrap_analysis.statistics.paired import smallest_p

Verdict = Literal["trap", "mixed", "no trap", "reversed", "not enough seeds", "no verdict"]
SIGNIFICANT = 0.05
SLIGHT = 0.05
MOST_LACKS = 3


@dataclass(frozen=True)
class Summary:
    """A run's numbers and its verdict.

    `kind` is what the analysis knows of the study's kind, `metrics` what its metrics are called.
    `order_effect`, `decomposition`: one row per grid point, as `order_effect_table` and
    `decomposition_table` return them. `outcomes`: one row per succeeded cell. `pairs`: one row
    per grid point and seed that has both K-A and A-K. `statuses`: `succeeded` or `failed` by cell
    id; planned cells that it lacks are missing. Counts are of cells. `notes` says what keeps the
    verdict from saying more; `lacks` names every metric that a model or a cell doesn't have.
    """

    study: str
    kind: KindRecord
    metrics: Mapping[str, Metric]
    axes: tuple[str, ...]
    verdict: Verdict
    sentence: str
    order_effect: pd.DataFrame
    decomposition: pd.DataFrame
    outcomes: pd.DataFrame
    pairs: pd.DataFrame
    design: Design
    cells: Sequence[Cell]
    statuses: Mapping[str, str]
    planned: int
    succeeded: int
    failed: int
    missing: int
    notes: tuple[str, ...]
    lacks: tuple[str, ...] = ()

    def table(self, most: int | None = None) -> pd.DataFrame:
        """The order effect table as text, for a terminal: every estimate with its interval.

        With `most`, at most so many grid points, the largest order effects of either sign first.
        """
        return order_effect_text(self, most)


def summarize(results: Run) -> Summary:
    """The order effect over the grid and the verdict.

    Never fails over what a study lacks (no cells yet, one ordering, one seed, values that are not
    finite): the verdict and `notes` say what can't be shown, and why.
    """
    cells = results.planned()
    axes = tuple(results.axes)
    kind = record_of(results.study.kind)
    design = Design.of(cells, axes)
    succeeded, failed = _cells_by_status(results.table("cells"), cells)
    metrics = results.table("metrics")
    outcomes = cell_outcomes(metrics, axes, kind.reward_supremum)
    outcomes = outcomes[outcomes["cell_id"].isin(succeeded)].reset_index(drop=True)
    pairs = pair_orderings(outcomes, axes, kind.optimum_check)
    table = order_effect_table(pairs, design, stream(0, "analysis/order-effect"))
    parts = decomposition_table(pairs, design, stream(0, "analysis/decomposition"), kind)
    verdict, sentence = judge(table, parts, design)
    missing = len(cells) - len(succeeded) - len(failed)
    lacks = lacking_values(metrics, outcomes, cells, succeeded, axes, kind)
    return Summary(
        study=results.study.name,
        kind=kind,
        metrics=results.metrics(),
        axes=axes,
        verdict=verdict,
        sentence=sentence,
        order_effect=table,
        decomposition=parts,
        outcomes=outcomes,
        pairs=pairs,
        design=design,
        cells=cells,
        statuses=dict.fromkeys(succeeded, "succeeded") | dict.fromkeys(failed, "failed"),
        planned=len(cells),
        succeeded=len(succeeded),
        failed=len(failed),
        missing=missing,
        notes=(*_notes(table, parts, len(failed), missing), *_first(lacks)),
        lacks=lacks,
    )


def _cells_by_status(table: pa.Table, cells: Sequence[Cell]) -> tuple[set[str], set[str]]:
    """Ids of the planned cells that succeeded and that failed."""
    planned = {cell.id for cell in cells}
    rows = list(zip(table["cell_id"].to_pylist(), table["status"].to_pylist(), strict=True))
    succeeded = {cell_id for cell_id, status in rows if status == "succeeded"} & planned
    return succeeded, ({cell_id for cell_id, _ in rows} & planned) - succeeded


def judge(table: pd.DataFrame, parts: pd.DataFrame, design: Design) -> tuple[Verdict, str]:
    """The verdict over the grid and its sentence.

    A grid point shows a trap where its mean order effect is above 0 and its paired sign-flip
    p-value, adjusted by Holm over the complete grid points, is below 0.05.
    """
    lacking = [name for name in ("K-A", "A-K") if name not in design.orderings]
    if lacking:
        return "no verdict", (
            f"No verdict: the order effect compares A-K with K-A, and this study has no "
            f"{' and no '.join(lacking)}."
        )
    complete = table[table["state"] == COMPLETE]
    if complete.empty:
        reasons = "; ".join(dict.fromkeys(table["state"].tolist()))
        return "no verdict", f"No verdict: no grid point can be judged ({reasons or 'no cells'})."
    left_out = len(table) - len(complete)
    prefix = (
        f"Unbalanced: {left_out} of {len(table)} grid points are left out. " if left_out else ""
    )
    if not (complete["p_holm"] <= SIGNIFICANT).any():
        verdict, words = _nothing_significant(complete)
    else:
        verdict, words = _significant(complete)
    return verdict, prefix + words + _worst(complete, parts, design, verdict)


def _nothing_significant(complete: pd.DataFrame) -> tuple[Verdict, str]:
    pairs, points = int(complete["pairs"].max()), len(complete)
    least = smallest_adjusted_p(pairs, points)
    if least > SIGNIFICANT:
        needed = next(n for n in range(2, 64) if smallest_adjusted_p(n, points) <= SIGNIFICANT)
        seeds, where = count_text(pairs, "seed"), count_text(points, "grid point")
        return "not enough seeds", (
            f"Not enough seeds: with {seeds} at {where} nothing can be significant (the smallest "
            f"possible p, adjusted by Holm, is {p_text(least)}). You need at least {needed} "
            f"seeds: rerun with -o seeds={needed}."
        )
    where = "the grid point" if points == 1 else f"any of {points} grid points"
    return "no trap", (
        f"No trap: A-K does not differ from K-A beyond seed noise at {where} (paired sign flips, "
        f"Holm, 5 %); order effects up to "
        f"{decimal_text(complete['order_effect_high'].max())} can't be excluded."
    )


def smallest_adjusted_p(pairs: int, points: int) -> float:
    """The smallest p, adjusted by Holm over so many grid points, that so many pairs can give."""
    if pairs < 2:
        return 1.0
    return min(1.0, points * smallest_p(pairs, flips_for(points)))


def concluded_signs(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """What is concluded at every row of an order effect table: 1 a trap, -1 a reversal, 0 neither.

    One rule for the headline, the table's reading and the figures' fillings and borders.
    """
    if "p_holm" not in table:
        return np.zeros(len(table))
    sure = (table["state"] == COMPLETE) & (table["p_holm"] <= SIGNIFICANT)
    return np.where(sure, np.sign(table["order_effect"].to_numpy(dtype=float)), 0.0)


def _significant(complete: pd.DataFrame) -> tuple[Verdict, str]:
    signs = pd.Series(concluded_signs(complete), index=complete.index)
    traps, reversed_ = signs > 0, signs < 0
    points = count_text(len(complete), "grid point")
    slight = int((complete["order_effect"][traps] < SLIGHT).sum())
    aside = f" (at {slight} of them slightly, below {setting_text(SLIGHT)})" if slight else ""
    if traps.all():
        where = "the grid point" if len(complete) == 1 else f"all {points}"
        return "trap", f"Trap: A-K attains more than K-A at {where}{aside}."
    if not traps.any():
        return "reversed", (
            f"Reversed: A-K attains less than K-A at {int(reversed_.sum())} of {points} and more "
            "at none."
        )
    reverse = f", less at {int(reversed_.sum())}" if reversed_.any() else ""
    return "mixed", (
        f"Mixed: A-K attains more than K-A at {int(traps.sum())} of {points}{aside}{reverse}; at "
        "the others the difference is within seed noise."
    )


def _worst(complete: pd.DataFrame, parts: pd.DataFrame, design: Design, verdict: Verdict) -> str:
    row = complete.iloc[int(np.argmax(complete["order_effect"].to_numpy()))]
    where = f" at {point_text(row['point'], design.axes)}" if design.axes else ""
    interval = row_interval(row, "order_effect")
    text = f" The largest order effect is {interval}{where}"
    here = parts[[point == row["point"] for point in parts["point"]]]
    if verdict in ("trap", "mixed") and len(here) and here.iloc[0]["state"] == COMPLETE:
        text += _mostly(here.iloc[0])
    text += "."
    if verdict in ("trap", "mixed"):
        text += _recall_price(row)
    return text


BECAUSE = {
    "last_distillation": "A-K is distilled last",
    "optimiser_ak": "A-K's alignment goes beyond the optimum of its objective",
    "reference": "alignment can reach more from p' than from p''",
    "optimiser_ka": "K-A's alignment falls short of the optimum of its objective",
}
"""What makes a part of the order effect positive."""


def _mostly(parts: pd.Series[Any]) -> str:
    """The largest part of a grid point's order effect, as a reason where it adds to it."""
    largest = parts["largest"]
    size = signed_text(parts[largest])
    if parts[largest] > 0:
        return f", mostly because {BECAUSE[largest]} ({size})"
    return f"; its largest part is the {TITLES[largest]} ({size})"


def _recall_price(row: pd.Series[Any]) -> str:
    cost = row["recall_difference"]
    if not np.isfinite(cost):
        return " What avoiding it costs in recall is not known."
    if cost >= 0:
        return " There A-K costs no recall."
    sure = row["recall_difference_high"] < 0
    hedge = "" if sure else ", a difference within seed noise"
    return f" Avoiding it there costs {decimal_text(-cost)} nats of overall recall{hedge}."


def _notes(table: pd.DataFrame, parts: pd.DataFrame, failed: int, missing: int) -> tuple[str, ...]:
    notes = []
    if failed:
        notes.append(f"{count_text(failed, 'cell')} failed")
    if missing:
        notes.append(f"{count_text(missing, 'cell')} not run yet")
    for state, rows in table.groupby("state", sort=False):
        if state != COMPLETE:
            notes.append(f"{count_text(len(rows), 'grid point')}: {state}")
    if "pairs" in table.columns and (table["pairs"] == 1).any():
        notes.append("one seed: no interval, no test, no instability ratio")
    undecomposed = [state for state in parts["state"] if state.startswith("no value")]
    if undecomposed:
        where = count_text(len(undecomposed), "grid point")
        notes.append(f"no decomposition at {where}: {undecomposed[0]}")
    return tuple(notes)


def _first(lacks: Sequence[str]) -> list[str]:
    """The metrics that are lacking, cut where there are many."""
    if len(lacks) <= MOST_LACKS:
        return list(lacks)
    more = len(lacks) - MOST_LACKS
    return [*lacks[:MOST_LACKS], f"{more} more metrics are lacking: the report names them"]


def order_effect_text(summary: Summary, most: int | None = None) -> pd.DataFrame:
    """The order effect table in words: axes, `pairs`, estimates with intervals, `p_holm`, `state`.

    Differences are A-K minus K-A; the interval's method stands in the table that it came from.
    `most`: see `Summary.table`.
    """
    table = summary.order_effect
    if "order_effect" in table.columns and most is not None:
        deepest = table["order_effect"].abs().sort_values(ascending=False, kind="stable")
        table = table.loc[deepest.index]  # what has none comes last
    table = table.head(len(table) if most is None else most)
    columns: dict[str, list[str]] = {
        axis: [setting_text(value) for value in table[axis]] for axis in summary.axes
    }
    titles = {
        "order_effect": "order effect",
        "target_precision_difference": metric_of(summary.metrics, "target_precision").label,
        "recall_difference": metric_of(summary.metrics, "overall_recall").label,
        "trap_rate": "trap rate",
        "instability_ratio": "instability",
    }
    if len(table):
        columns["pairs"] = [
            f"{complete} of {planned}"
            for complete, planned in zip(table["pairs"], table["planned_pairs"], strict=True)
        ]
        rows = [row for _, row in table.iterrows()]
        for name, title in titles.items():
            columns[title] = [row_interval(row, name) for row in rows]
        columns["p (Holm)"] = [p_text(p) for p in table["p_holm"]]
    columns["state"] = [str(state) for state in table["state"]]
    return pd.DataFrame(columns)
