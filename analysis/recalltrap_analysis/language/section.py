"""The section on language: what models talk about, how long, and how well the students learned."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap.errors import InputError
from recalltrap_analysis.language.queries import response_query, training_query
from recalltrap_analysis.language.students import (
    FLAT_UPDATES,
    SMALL_GAP,
    STILL_FALLS,
    Training,
    lost_in_last_distillation,
    trainings,
    unconverged,
)
from recalltrap_analysis.language.temperature_plot import temperature_plot
from recalltrap_analysis.language.topics import MODEL_TITLES, SHARE, response_table, topic_names
from recalltrap_analysis.number_format import (
    decimal_text,
    point_text,
    range_text,
    row_interval,
    setting_text,
    share_text,
)
from recalltrap_analysis.report.document.blocks import Block, Fold, Grid, Prose
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.grid_points import deepest
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.metric_labels import metric_labels
from recalltrap_analysis.runs.wide_tables import common_values, rows_of
from recalltrap_analysis.verdicts.summary import Summary

DECAY_SHARE = 0.2


def language_blocks(run: ReadRun, summary: Summary) -> list[Block]:
    """Topics, lengths, students and the temperature; nothing where no model reports any of them."""
    table = response_table(summary.outcomes, summary.axes)
    students = _students(run, summary)
    if table.empty and not students:
        return []
    blocks: list[Block] = [*students, *_responses(summary, table)]
    if not students:
        blocks.insert(0, Prose("How well the students learned isn't known: no model reports a "
                               "held-out loss.", "absent"))  # fmt: skip
    if (sweep := temperature_plot(run, summary)) is not None:
        blocks.append(sweep)
    return blocks


def _responses(summary: Summary, table: pd.DataFrame) -> list[Block]:
    if table.empty:
        return [Prose("What the models say isn't known: none reports topics, grammar or the length "
                      "of its responses.", "absent")]  # fmt: skip
    topics = topic_names(summary.outcomes)
    titles = dict(MODEL_TITLES)
    models = [
        f"{titles[model]} ({ordering})" if ordering else titles[model]
        for model, ordering in zip(table["model"], table["ordering"], strict=True)
    ]
    rows = rows_of(table)
    lengths = {axis: table[axis].tolist() for axis in summary.axes} | {"model": models}
    heads = metric_labels(summary.metrics, ("length", "eos_rate", "grammatical", "topic_coverage"))
    lengths[heads["length"]] = [decimal_text(row["length"], 1) for row in rows]
    lengths[heads["eos_rate"]] = [share_text(row["eos_rate"]) for row in rows]
    blocks: list[Block] = []
    grammar = bool(table["grammatical"].notna().any())
    if grammar:
        lengths[heads["grammatical"]] = [share_text(row["grammatical"]) for row in rows]
    if topics:
        blocks += [
            Prose(
                "**Topic coverage**: how much of its weight in p*'s language each topic keeps, all "
                "of it at most, averaged over topics, so that rare ones count as much as common "
                "ones. The columns are the shares of each model's responses."
            ),
            *_topic_grids(summary, table, models, topics),
        ]
    else:
        blocks.append(Prose("Topics and their coverage are left out: no model reports them. They "
                            "are read by the built-in grammar, and so are known only where p* "
                            "speaks it.", "absent"))  # fmt: skip
    query = response_query(summary.axes)
    data = records(table.drop(columns="points"))
    found = grid("lengths", pd.DataFrame(lengths), data=data, query=query)
    return [*blocks, Fold("Lengths of responses" + (", and grammar" if grammar else ""), [found])]


def _topic_grids(
    summary: Summary, table: pd.DataFrame, models: list[str], topics: list[str]
) -> list[Block]:
    """The topics where the order effect is largest, and those of all grid points to unfold."""
    rows = rows_of(table)
    columns = {axis: table[axis].tolist() for axis in summary.axes} | {"model": models}
    columns["coverage"] = [row_interval(row, "topic_coverage") for row in rows]
    for topic in topics:
        columns[topic] = [share_text(row[f"{SHARE}{topic}"]) for row in rows]
    text, data = pd.DataFrame(columns), records(table.drop(columns="points"))
    query = response_query(summary.axes)
    every = grid("topics", text, data=data, query=query)
    points = deepest(summary.order_effect, 1)
    here = [i for i, row in enumerate(rows) if points and points[0] in row["points"]]
    if not here or len(here) == len(rows):
        return [every]
    where = point_text(points[0], summary.axes)
    words = Prose(f"At {where}, where the order effect is largest:", "small", ours=False)
    shown = text.iloc[here].drop(columns=list(summary.axes))
    first = grid("topics at the deepest", shown, data=[data[i] for i in here], query=query)
    return [words, first, Fold("Topics at every grid point", [every])]


def _students(run: ReadRun, summary: Summary) -> list[Block]:
    """Held-out losses, and in plain words what they forbid to conclude."""
    cells = [cell for cell in summary.cells if summary.statuses.get(cell.id) == "succeeded"]
    share = cells[0].factors.get("decay_share") if cells else None
    decay = DECAY_SHARE if share is None else float(share)
    found = trainings(summary.outcomes, _curves(run), summary.axes, decay)
    if not found:
        return []
    warnings = [
        *unconverged(found, summary.axes),
        *lost_in_last_distillation(found, summary.order_effect, summary.axes),
    ]
    told = [one for one in found if one.converged is not None]
    blocks: list[Block] = [Prose(text, "caveat", ours=False) for text in warnings]
    if told and all(one.converged for one in told):
        blocks.append(
            Prose(
                "Every student with a loss curve had converged before its learning rate decayed: "
                f"its held-out loss fell by less than {setting_text(STILL_FALLS)} nats per token, "
                f"and was within {setting_text(SMALL_GAP)} of its teacher's entropy or flat over "
                f"{FLAT_UPDATES} updates or more.",
                "small",
            )
        )
    return [*blocks, _student_grid(summary, found)]


def _curves(run: ReadRun) -> pd.DataFrame:
    query = "select cell_id, stage, step, value from curves where metric = 'heldout_loss'"
    try:
        found: pd.DataFrame = run.sql(query).to_pandas()
    except InputError:
        return pd.DataFrame({"cell_id": [], "stage": [], "step": [], "value": []})
    return found


def _student_grid(summary: Summary, found: list[Training]) -> Grid:
    table = pd.DataFrame(
        {
            "student": [one.title for one in found],
            "teacher": [one.teacher for one in found],
            "heldout_loss": [float(one.loss_N.mean()) for one in found],
            "teacher_entropy": [float(one.entropy_N.mean()) for one in found],
            "gap": [one.gap for one in found],
            "fall": [one.fall for one in found],
            "converged": [one.verdict for one in found],
        }
    )
    shared = [common_values(one.points, summary.axes) for one in found]
    for place, axis in enumerate(summary.axes):
        table.insert(place, axis, [words[axis] for words in shared])
    columns: dict[str, list[str]] = {axis: table[axis].tolist() for axis in summary.axes}
    columns |= {"student": table["student"].tolist(), "teacher": table["teacher"].tolist()}
    heads = metric_labels(summary.metrics, ("heldout_loss", "teacher_entropy"))
    columns[heads["heldout_loss"]] = [decimal_text(value, 3) for value in table["heldout_loss"]]
    columns[heads["teacher_entropy"]] = [
        decimal_text(value, 3) for value in table["teacher_entropy"]
    ]
    columns["above it"] = [_gap_text(one) for one in found]
    columns["still fell by"] = [decimal_text(value, 3) for value in table["fall"]]
    columns["converged"] = table["converged"].tolist()
    return grid(
        "students",
        pd.DataFrame(columns),
        data=records(table),
        order=[int(i) for i in np.argsort(-table["gap"].to_numpy(), kind="stable")],
        query=training_query(summary.axes),
    )


def _gap_text(one: Training) -> str:
    """Mean, lowest and highest gap over the seeds; a dash where a seed's is not known."""
    if not np.isfinite(one.gap):
        return "–"
    gap_N = one.loss_N - one.entropy_N
    return f"{decimal_text(one.gap, 3)} ({range_text(gap_N, 3)})"
