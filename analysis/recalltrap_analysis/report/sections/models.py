"""The models: the references before any alignment, and the finals over seeds."""

from __future__ import annotations

import math

import pandas as pd

from recalltrap.kind import metric_of
from recalltrap_analysis.estimates.evaluation_noise import noise_table, nothing_sampled
from recalltrap_analysis.number_format import decimal_text, share_text, significant_text
from recalltrap_analysis.report.document.blocks import Block, Fold, Prose, Section
from recalltrap_analysis.report.document.tables import grid, records
from recalltrap_analysis.report.plots.boxplots import boxplots_plot
from recalltrap_analysis.report.plots.model_paths import model_paths_plot
from recalltrap_analysis.report.plots.references import references_plot
from recalltrap_analysis.report.plots.training_curves import training_curves_plot
from recalltrap_analysis.report.sections.grid_tables import axis_columns, largest_first
from recalltrap_analysis.report.sections.kind_analysis import kind_blocks
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
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
    blocks += _noise(run, summary)
    return Section("models", "Final models over seeds", blocks)


def references_section(run: ReadRun, summary: Summary, *, brief: bool = False) -> Section:
    """p' and p'' before any alignment."""
    blocks: list[Block] = [references_plot(run, summary)]
    blocks += kind_blocks("references", run, summary, brief=brief)
    return Section("references", "References before alignment", blocks)


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
