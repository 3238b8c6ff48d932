"""The models: the references before any alignment, and the finals over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from recalltrap.errors import InputError
from recalltrap.kind import CURVE_ENDS, metric_of
from recalltrap_analysis.estimates.evaluation_noise import noise_table, nothing_sampled
from recalltrap_analysis.number_format import (
    DASH,
    decimal_text,
    interval_text,
    setting_text,
    share_text,
    significant_text,
)
from recalltrap_analysis.report.document.blocks import Block, Fold, Prose, Section
from recalltrap_analysis.report.document.grid_tables import axis_columns, largest_first
from recalltrap_analysis.report.document.kind_analysis import kind_blocks
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.boxplots import boxplots_plot
from recalltrap_analysis.report.plots.model_paths import model_paths_plot
from recalltrap_analysis.report.plots.references import references_plot
from recalltrap_analysis.report.plots.training_curves import training_curves_plot
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.design import hashable
from recalltrap_analysis.runs.loaded_run import ReadRun, first_line
from recalltrap_analysis.runs.wide_tables import point_keys
from recalltrap_analysis.statistics.student import student_interval
from recalltrap_analysis.verdicts.summary import Summary


def final_models_section(run: ReadRun, summary: Summary, *, brief: bool = False) -> Section:
    """The paper's figures of the final models; `brief` leaves out what one seed's models show."""
    blocks: list[Block] = [
        boxplots_plot(run, summary),
        model_paths_plot(run, summary),
    ]
    blocks += kind_blocks("models", run, summary, brief=brief)
    if not brief:
        blocks.append(training_curves_plot(run, summary))
        blocks += _curve_ends(run, summary)
    blocks += _noise(run, summary)
    return Section("models", "Final models over seeds", blocks)


def references_section(run: ReadRun, summary: Summary, *, brief: bool = False) -> Section:
    """p' and p'' before any alignment."""
    blocks: list[Block] = [references_plot(run, summary)]
    blocks += kind_blocks("references", run, summary, brief=brief)
    return Section("references", "References before alignment", blocks)


def _curve_ends(run: ReadRun, summary: Summary) -> list[Block]:
    """Where each alignment began and ended: its distance from its reference, and DPO's z."""
    try:
        curves = run.sql(sql.curve_ends_query(summary.axes, list(CURVE_ENDS))).to_pandas()
    except InputError as error:
        return [Prose(f"The ends of the alignments' curves can't be read: {first_line(error)}",
                      "absent", ours=False)]  # fmt: skip
    ends = curve_ends(curves, summary.axes)
    if ends.empty:
        return []
    known = list(dict.fromkeys(ends["metric"]))
    columns: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in ends.to_dict("records"):
        place = (*(hashable(row[axis]) for axis in summary.axes), row["ordering"])
        line = columns.setdefault(
            place,
            {axis: setting_text(hashable(row[axis])) for axis in summary.axes}
            | {"ordering": row["ordering"]},
        )
        label = CURVE_ENDS[row["metric"]].label
        for end in ("first", "last"):
            text = interval_text(row[end], row[f"{end}_low"], row[f"{end}_high"])
            line[f"{label}: {end}"] = text
    words = (
        "Of the first alignment of each ordering, at its first recorded update and its last: means "
        "over seeds with 95 % intervals. The KL is the reverse one, KL(policy ‖ reference). Under "
        "`K-A@p'` the start isn't the reference, so neither it nor z begins at 0."
    )
    if "gradient_weight" in known:
        words += (
            " z is DPO's logit of a pair, and σ(−z) the share of its gradient that the pair still "
            "gives: what of σ(−z) is left at the end is how much of the loss still pulls. Where it "
            "hasn't vanished, an alignment that attained little wasn't stopped by spent pairs."
        )
    details = grid("curve ends", pd.DataFrame(list(columns.values())).fillna(DASH),
                   data=records(ends), order=range(len(columns)),
                   query=sql.curve_ends_query(summary.axes, known))  # fmt: skip
    title = "How far each alignment went from its reference: first and last update"
    return [Fold(title, [details, Prose(words, "small")])]


def curve_ends(curves: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Means over seeds of what `sql.curve_ends_query` finds.

    Returns:
        The axes, `ordering`, `metric` (of `CURVE_ENDS`; of one title the first that there is),
        `first` and `last` with `_low`, `_high` (95 %), `n` and `method`.
    """
    recorded = set(curves["metric"])
    wanted: dict[str, str] = {}
    for name, metric in CURVE_ENDS.items():
        if name in recorded:
            wanted.setdefault(metric.title, name)
    rows = []
    for name in wanted.values():
        mine = curves[curves["metric"] == name]
        keys = point_keys(mine.assign(**{a: mine[a].map(hashable) for a in axes}), axes)
        groups: dict[tuple[Any, ...], list[int]] = {}
        for position, key in enumerate(zip(keys, mine["ordering"], strict=True)):
            groups.setdefault(key, []).append(position)
        for (point, ordering), positions in groups.items():
            row = dict(zip(axes, point, strict=True)) | {"ordering": ordering, "metric": name}
            for end in ("first", "last"):
                found = student_interval(mine[end].to_numpy(dtype=float)[positions])
                row |= {end: found.value, f"{end}_low": found.low, f"{end}_high": found.high,
                        "n": found.n, "method": found.method}  # fmt: skip
            rows.append(row)
    return pd.DataFrame(rows)


def _noise(run: ReadRun, summary: Summary) -> list[Block]:
    table = noise_table(run.table("metrics"), summary.design)
    if table.empty:
        return [Prose("The metrics have no standard errors, so evaluation noise can't be told from "
                      "the spread over seeds.", "absent")]  # fmt: skip
    columns = axis_columns(table, summary.axes)
    columns["ordering"] = table["ordering"].tolist()
    columns["metric"] = [metric_of(summary.metrics, name).title for name in table["metric"]]
    columns["sd over seeds"] = [decimal_text(value, 3) for value in table["seed_sd"]]
    columns["evaluation s.e."] = [decimal_text(value, 3) for value in table["evaluation_error"]]
    columns["share of the variance"] = [share_text(value, 1) for value in table["share"]]
    details = grid(
        "evaluation noise",
        pd.DataFrame(columns),
        data=records(table),
        order=largest_first(table["share"]),
        query=sql.noise_query(summary.axes),
    )
    known = table["share"].dropna()
    middle, most = float(known.median()), float(known.max())
    words = Prose(
        f"**Evaluation noise** makes up {share_text(middle, 1)} of the variance over seeds in the "
        f"median setting and {share_text(most, 1)} at most. The orderings of a seed are evaluated "
        "on the same samples of p*, so part of it cancels in the pairs.",
    )
    if nothing_sampled(run.table("metrics")):
        largest = float(table["evaluation_error"].max())
        words = Prose(
            "**No evaluation noise**: every metric is exact, a closed form or a quadrature whose "
            f"two orders differ by {significant_text(largest, 1)} at most. All spread is over "
            "seeds.",
        )
    if not math.isfinite(middle):
        words = Prose("Evaluation noise is compared with the spread over seeds, which needs at "
                      "least two of them.")  # fmt: skip
    return [words, Fold("Spread over seeds and evaluation noise per setting", [details])]
