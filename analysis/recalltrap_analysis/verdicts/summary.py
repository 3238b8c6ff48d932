"""A run's numbers, judged: what sections, figures, terminal and Python take of it.

What can't be said is said to be unsayable, with the reason. Nothing is drawn or written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from recalltrap.graph import Cell
from recalltrap.kind import Metric, metric_of
from recalltrap.streams import stream
from recalltrap_analysis.estimates.attainment import ATTAINMENT, unit_in_sql, with_unit
from recalltrap_analysis.estimates.costs import known_costs
from recalltrap_analysis.estimates.decomposition import decomposition_table
from recalltrap_analysis.estimates.experiment import experiment_table
from recalltrap_analysis.estimates.missing.metrics import lacking_values
from recalltrap_analysis.estimates.order_effect import (
    ANCHORED_TO_P_PRIME,
    BEYOND_MARGIN,
    COMPLETE,
    TRAP_RATE,
    order_effect_table,
    pair_orderings,
    severity_title,
)
from recalltrap_analysis.number_format import count_text, row_interval, setting_text
from recalltrap_analysis.recommendation.recommendation import Recommendation
from recalltrap_analysis.recommendation.what_to_do import recommendations
from recalltrap_analysis.runs.design import Design, GridPoint
from recalltrap_analysis.runs.kind_record import KindRecord, record_of
from recalltrap_analysis.runs.prompt_rewards import with_prompt_rewards
from recalltrap_analysis.runs.protocol import Run
from recalltrap_analysis.runs.sql import RewardUnit
from recalltrap_analysis.runs.wide_tables import cell_outcomes, rows_of
from recalltrap_analysis.verdicts.effects import effects_table
from recalltrap_analysis.verdicts.endpoint_parts import behind_primary
from recalltrap_analysis.verdicts.grid_points import judged_points
from recalltrap_analysis.verdicts.headline import headline
from recalltrap_analysis.verdicts.judgement import Judgement, judgement_of
from recalltrap_analysis.verdicts.primary import kl_weights, primary_table
from recalltrap_analysis.verdicts.scorer_effects import (
    hacking_warning,
    scorer_effects,
    suspects,
    with_warnings,
)

MOST_LACKS = 3


@dataclass(frozen=True)
class Summary:
    """A run's numbers and its verdict.

    `kind` is what the analysis knows of the study's kind, `metrics` what its metrics are called.
    `judgement`: by what the run is judged. `verdict` and `sentence` come from its `primary`, one
    row per stratum and endpoint as `primary_table` returns it. One row per grid point have
    `order_effect` (as `judged_points` returns it, with severity), `experiment` and
    `decomposition` (the two splits). `effects`: every contrast by every comparison, as
    `effects_table` returns it. `scores`: the contrasts by scorers that weren't optimised, as
    `scorer_effects` returns them, and `warning` a sentence where a scorer falls as reward rises.
    `recommendations` say what to do in every stratum, and
    `recommendation` over all of them. `outcomes`: one row per succeeded cell. `pairs`: one row
    per grid point and seed that has both K-A and A-K. `statuses`: `succeeded` or `failed` by cell
    id; planned cells that it lacks are missing. Counts are of cells. `notes` says what keeps the
    verdict from saying more; `lacks` names every metric that a model or a cell doesn't have.
    """

    study: str
    kind: KindRecord
    metrics: Mapping[str, Metric]
    axes: tuple[str, ...]
    judgement: Judgement
    verdict: str
    sentence: str
    primary: pd.DataFrame
    order_effect: pd.DataFrame
    experiment: pd.DataFrame
    decomposition: pd.DataFrame
    effects: pd.DataFrame
    scores: pd.DataFrame
    warning: str
    recommendations: Sequence[Recommendation]
    recommendation: Recommendation
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

    @property
    def unit(self) -> str:
        """What differences of rewards are in."""
        return self.judgement.unit

    @property
    def reward_unit(self) -> RewardUnit:
        """The same, as queries have it."""
        return unit_in_sql(self.kind, self.unit)

    def table(self, most: int | None = None) -> pd.DataFrame:
        """The order effect's table as text, for a terminal: every estimate with its interval.

        With `most`, at most so many grid points, the largest order effects of either sign first.
        """
        return order_effect_text(self, most)


def summarize(results: Run) -> Summary:
    """The effects over the grid, and the verdict of the study's primary endpoint.

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
    judgement = judgement_of(results, kind, outcomes)
    given = bool(cells) and all(kind.given_p_prime(one) for one in design.settings.values())
    if given:
        outcomes = with_prompt_rewards(outcomes, results.table("responses"))
    pairs = pair_orderings(outcomes, axes, kind.optimum_check)
    parts = decomposition_table(pairs, design, kind)
    without_half = None if judgement.unit == ATTAINMENT else judgement.margin
    generator = stream(0, "analysis/order-effect")
    table = order_effect_table(pairs, design, generator, without_half)
    table = judged_points(table, pairs, design, judgement, _doubts(parts))
    primary = primary_table(outcomes, design, kind, judgement)
    found = headline(
        primary,
        judgement,
        behind_primary(outcomes, pairs, table, design, kind, judgement),
        _kl_weights(design, kind),
        design.orderings,
    )
    names = results.metrics()
    costs = known_costs(results.table("costs").to_pandas())
    by_stratum, overall = recommendations(outcomes, design, cells, costs, kind, judgement, names)
    if given:
        by_stratum = [one.extended(FOR_THIS) for one in by_stratum]
        overall = by_stratum[0] if len(by_stratum) == 1 else overall.extended(FOR_THIS)
    scores = scorer_effects(outcomes, design, kind, judgement)
    doubted = suspects(scores)
    by_stratum, overall = with_warnings(by_stratum, overall, doubted)
    missing = len(cells) - len(succeeded) - len(failed)
    lacks = lacking_values(metrics, outcomes, cells, succeeded, axes, kind)
    return Summary(
        study=results.study.name,
        kind=kind,
        metrics=names,
        axes=axes,
        judgement=judgement,
        verdict=found.word,
        sentence=found.sentence + (_for_this_p_prime(primary) if given else ""),
        primary=primary,
        order_effect=table,
        experiment=experiment_table(outcomes, design, kind.kl_weight),
        decomposition=parts,
        effects=effects_table(outcomes, design, kind, judgement),
        scores=scores,
        warning=hacking_warning(doubted, max(1, scores["stratum"].nunique())),
        recommendations=by_stratum,
        recommendation=overall,
        outcomes=outcomes,
        pairs=pairs,
        design=design,
        cells=cells,
        statuses=dict.fromkeys(succeeded, "succeeded") | dict.fromkeys(failed, "failed"),
        planned=len(cells),
        succeeded=len(succeeded),
        failed=len(failed),
        missing=missing,
        notes=(
            *_notes(table, parts, len(failed), missing),
            *_scope(design, kind),
            *_first(lacks),
        ),
        lacks=lacks,
    )


FOR_THIS = "This holds for this p'."
"""Of a p' that was given: seeds are no sample of models."""


def _for_this_p_prime(primary: pd.DataFrame) -> str:
    """The same of a verdict, with what its intervals are over."""
    over = "seeds × prompts" if "method" in primary else "seeds alone"
    return f" This is for this p', with intervals over {over}."


def _cells_by_status(table: pa.Table, cells: Sequence[Cell]) -> tuple[set[str], set[str]]:
    """Ids of the planned cells that succeeded and that failed."""
    planned = {cell.id for cell in cells}
    rows = list(zip(table["cell_id"].to_pylist(), table["status"].to_pylist(), strict=True))
    succeeded = {cell_id for cell_id, status in rows if status == "succeeded"} & planned
    return succeeded, ({cell_id for cell_id, _ in rows} & planned) - succeeded


def _doubts(parts: pd.DataFrame) -> dict[GridPoint, str]:
    """What is wrong with the optima, by grid point."""
    if "reliability" not in parts:
        return {}
    found = zip(parts["point"], parts["reliability"], strict=True)
    return {point: doubt for point, doubt in found if doubt}


def _kl_weights(design: Design, kind: KindRecord) -> tuple[str, list[float]]:
    """The name of the KL weight, empty without one, and its values in the grid."""
    if kind.kl_weight is None:
        return "", []
    found = set(kl_weights(design, design.points, kind.kl_weight))
    return kind.kl_weight, sorted(weight for weight in found if weight is not None)


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
        notes.append("one seed: no interval, no verdict, no instability ratio")
    undecomposed = [state for state in parts["state"] if state.startswith("no value")]
    if undecomposed and len(undecomposed) < len(parts):
        where = count_text(len(undecomposed), "grid point")
        notes.append(f"no decomposition at {where}: {undecomposed[0]}")
    return tuple(notes)


def _scope(design: Design, kind: KindRecord) -> list[str]:
    """What the kind says limits the conclusions, each line once."""
    notes = (note for found in design.settings.values() for note in kind.scope_notes(found))
    return list(dict.fromkeys(notes))


def _first(lacks: Sequence[str]) -> list[str]:
    """The metrics that are lacking, cut where there are many."""
    if len(lacks) <= MOST_LACKS:
        return list(lacks)
    more = len(lacks) - MOST_LACKS
    return [*lacks[:MOST_LACKS], f"{more} more metrics are lacking: the report names them"]


READING = "reading"
SEVERITY_READING = "severity's reading"


def order_effect_text(summary: Summary, most: int | None = None) -> pd.DataFrame:
    """The order effect's table in words: axes, estimates with intervals, readings, pairs, state.

    Differences are A-K minus K-A; the interval's method stands in the table that it came from.
    `most`: see `Summary.table`.
    """
    table = summary.order_effect
    if "order_effect" in table.columns and most is not None:
        deepest = table["order_effect"].abs().sort_values(ascending=False, kind="stable")
        table = table.loc[deepest.index]  # what has none comes last
    table = table.head(len(table) if most is None else most)
    columns: dict[str, list[str]] = {
        axis: [setting_text(point[place]) for point in table["point"]]
        for place, axis in enumerate(summary.axes)
    }
    if len(table):
        rows = rows_of(table)

        def intervals(name: str) -> list[str]:
            return [row_interval(row, name) for row in rows]

        against = table["trap_rate_against"].iloc[0]
        aside = "" if against == ANCHORED_TO_P_PRIME else f" (against {against})"
        columns[with_unit("order effect", summary.unit)] = intervals("order_effect")
        columns[READING] = _readings(table, "state", "words")
        severity = severity_title(table["severity_from"].iloc[0])
        columns[with_unit(severity, summary.unit)] = intervals("severity")
        columns[SEVERITY_READING] = _readings(table, "severity_state", "severity_words")
        if BEYOND_MARGIN in table:
            columns[f"seeds beyond the margin{aside}"] = intervals(BEYOND_MARGIN)
        else:
            columns[f"trap rate{aside}"] = intervals(TRAP_RATE)
        columns["instability"] = intervals("instability_ratio")
        for name, metric in (
            ("target_precision_difference", "target_precision"),
            ("recall_difference", "overall_recall"),
        ):
            columns[metric_of(summary.metrics, metric).label] = intervals(name)
        columns["pairs"] = [
            f"{complete} of {planned}"
            for complete, planned in zip(table["pairs"], table["planned_pairs"], strict=True)
        ]
    return pd.DataFrame(columns)


def _readings(table: pd.DataFrame, state: str, words: str) -> list[str]:
    """What is said of an effect at every grid point, or why nothing is."""
    return [
        str(said) if why == COMPLETE or said else str(why)
        for why, said in zip(table[state], table[words], strict=True)
    ]
