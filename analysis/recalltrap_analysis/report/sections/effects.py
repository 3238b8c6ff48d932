"""The sections of one run's report: effects, their origin, models, references, the forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recalltrap.streams import stream
from recalltrap_analysis.estimates.controls import (
    cell_attainments,
    contrast_table,
    ordering_attainments,
)
from recalltrap_analysis.estimates.decomposition import PARTS
from recalltrap_analysis.estimates.decomposition import TITLES as PART_TITLES
from recalltrap_analysis.estimates.effective_samples import doubt_over
from recalltrap_analysis.estimates.evaluation_noise import noise_table, nothing_sampled
from recalltrap_analysis.estimates.severity import COMPLETE
from recalltrap_analysis.number_format import (
    decimal_text,
    p_text,
    row_interval,
    setting_text,
    share_text,
    significant_text,
)
from recalltrap_analysis.report.document import Block, Fold, Grid, Prose, Section, grid, records
from recalltrap_analysis.report.plots import pictures, portraits
from recalltrap_analysis.report.sections.particulars import statistics_blocks
from recalltrap_analysis.runs import sql
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.verdicts.summary import (
    SIGNIFICANT,
    SLIGHT,
    Summary,
    severity_text,
    smallest_adjusted_p,
)

METHODS = {"trap_rate": "Wilson", "instability_ratio": "jackknife of the log variance ratio"}


def deepest_first(table: pd.DataFrame) -> list[int]:
    """Positions of a table's rows, the largest severity first, those without one last."""
    values = table["severity"].abs().fillna(-1.0).tolist() if "severity" in table else []
    return sorted(range(len(values)), key=lambda i: -values[i])


def axis_columns(table: pd.DataFrame, axes: Sequence[str]) -> dict[str, list[str]]:
    """The axes' values in words, as the first columns of a table."""
    return {axis: [setting_text(value) for value in table[axis]] for axis in axes}


def severity_section(summary: Summary) -> Section:
    """Severity over the grid, with every statistic behind the reading."""
    methods = [m for m in summary.severity.get("method", pd.Series(dtype=str)).unique() if m]
    method = " and ".join(methods)
    kinds = f" ({method}; trap rate: Wilson; instability: jackknife)" if method else ""
    blocks: list[Block] = [
        pictures.severity_picture(summary),
        _severity_grid(summary),
        Prose(
            f"Square brackets: 95 % intervals over paired seeds{kinds}. p: paired sign-flip "
            "permutation test of severity, adjusted by Holm over the complete grid points; a "
            f"reading other than noise needs p ≤ {SIGNIFICANT}. A grid point that misses pairs "
            "gets no numbers.",
            "small",
        ),
        Fold("Every statistic: means and medians, effect size, tests, seeds that would be needed",
             statistics_blocks(summary)),
    ]  # fmt: skip
    return Section("severity", "How severe is it?", blocks)


def _severity_grid(summary: Summary) -> Grid:
    table = summary.severity
    text = severity_text(table, summary.axes)
    complete = int((table["state"] == COMPLETE).sum())
    text["reading"] = [_reading(row, complete) for _, row in table.iterrows()]
    lead = [*summary.axes, "severity", "p (Holm)", "reading"]
    rest = [name for name in text.columns if name not in (*lead, "state", "pairs")]
    wanted = [name for name in (*lead, *rest, "pairs") if name in text.columns]
    return grid(
        "severity",
        text[wanted],
        data=records(table.assign(reading=text["reading"]), METHODS),
        order=deepest_first(table),
        query=sql.severity_query(summary.axes),
    )


def _reading(row: pd.Series[Any], complete: int) -> str:
    if row["state"] != COMPLETE:
        return str(row["state"])
    if not row["p_holm"] <= SIGNIFICANT:
        enough = smallest_adjusted_p(int(row["pairs"]), complete) <= SIGNIFICANT
        return "within seed noise" if enough else "too few seeds"
    slight = "slight " if abs(row["severity"]) < SLIGHT else ""
    return f"{slight}trap" if row["severity"] > 0 else f"{slight}reversal"


def origin_section(summary: Summary) -> Section:
    """The decomposition as waterfalls, and the controls that keep sharpening apart."""
    attainments = cell_attainments(summary.outcomes, summary.design)
    others = [name for name in summary.design.orderings if name not in ("K-A", "A-K")]
    generator = stream(0, "analysis/attainments")
    means = ordering_attainments(
        attainments, summary.design, pictures.deepest_falls(summary), others, generator
    )
    blocks: list[Block] = [
        Prose(
            "Severity splits exactly into four parts. **Reference** is the structural trap: what "
            "the best possible alignment can reach from p' and from p''. The two **optimiser** "
            "parts are what each alignment reached beyond or short of that optimum (for K-A, this "
            "is where the sampling trap shows). The **last distillation** is what A-K gained by "
            "sharpening, or lost, when it was distilled."
        )
    ]
    note = next((note for note in summary.decomposition.get("note", []) if note), "")
    if note:
        blocks.append(Prose(note, "caveat"))
    if doubt := doubt_over(summary.decomposition, summary.axes):
        blocks.append(Prose(doubt, "caveat", ours=False))
    blocks.append(pictures.waterfall_picture(summary, means))
    if (bars := pictures.decomposition_picture(summary)) is not None:
        blocks.append(bars)
    blocks.append(Fold("The parts with their intervals", [_parts_grid(summary)]))
    blocks += _controls(summary, attainments)
    return Section("origin", "Where does it come from?", blocks)


def _parts_grid(summary: Summary) -> Grid:
    table, axes = summary.decomposition, summary.axes
    rows = [row for _, row in table.iterrows()]
    columns = axis_columns(table, axes)
    if "severity" in table:
        columns["severity"] = [decimal_text(row["severity"]) for row in rows]
        for part in PARTS:
            columns[PART_TITLES[part]] = [row_interval(row, part) for row in rows]
    columns["state"] = [str(state) for state in table["state"]]
    methods = dict.fromkeys(PARTS, _method_of(summary))
    return grid(
        "decomposition",
        pd.DataFrame(columns),
        data=records(table, methods),
        order=deepest_first(table),
        query=sql.decomposition_query(axes),
    )


def _method_of(summary: Summary) -> str:
    """The method of the means' intervals, where all grid points have one."""
    methods = [m for m in summary.severity.get("method", pd.Series(dtype=str)).unique() if m]
    return str(methods[0]) if len(methods) == 1 else ""


def _controls(summary: Summary, attainments: pd.DataFrame) -> list[Block]:
    table = contrast_table(attainments, summary.design, stream(0, "analysis/controls"))
    if table.empty:
        return [
            Prose(
                "This study has no control ordering (`K-A-K`, `K-A@p'`, `A`), so the decomposition "
                "alone tells the last distillation's sharpening from the ordering.",
                "caveat",
            )
        ]
    columns = axis_columns(table, summary.axes)
    rows = [row for _, row in table.iterrows()]
    columns["contrast"] = [str(row["contrast"]) for row in rows]
    columns["attainment"] = [row_interval(row, "difference") for row in rows]
    columns["p (Holm)"] = [p_text(row["p_holm"]) for row in rows]
    columns["what it measures"] = [str(row["meaning"]) for row in rows]
    if (table["state"] != COMPLETE).any():
        columns["state"] = table["state"].tolist()
    sizes = table["difference"].abs().fillna(-1.0).to_numpy()
    found = grid(
        "controls",
        pd.DataFrame(columns),
        data=records(table),
        order=[int(i) for i in np.argsort(-sizes, kind="stable")],
        query=sql.contrast_query(summary.axes),
    )
    methods = " and ".join(m for m in table["method"].unique() if m)
    return [
        Prose("**Controls**: paired differences of attainment between orderings. Only what is left "
              "beside K-A-K, which ends with the same distillation as A-K, may be credited to the "
              "ordering."),
        found,
        Prose(f"95 % intervals over paired seeds ({methods or 'none'}); p: paired sign flips, "
              "Holm over the table.", "small"),
    ]  # fmt: skip


def models_section(run: ReadRun, summary: Summary, *, brief: bool) -> Section:
    """The paper's figures of the final models; `brief` leaves out what one seed's models show."""
    blocks: list[Block] = [
        portraits.box_picture(summary),
        portraits.trajectory_picture(summary),
    ]
    if not brief:
        if run.drawable:
            blocks.append(portraits.contour_picture(run, summary))
        blocks.append(portraits.selection_picture(run, summary))
    blocks += _noise(run, summary)
    return Section("models", "The final models, seed by seed", blocks)


def _noise(run: ReadRun, summary: Summary) -> list[Block]:
    table = noise_table(run.table("metrics"), summary.design)
    if table.empty:
        return [Prose("The metrics carry no standard errors, so evaluation noise can't be told "
                      "from the spread over seeds.", "absent")]  # fmt: skip
    columns = axis_columns(table, summary.axes)
    columns["ordering"] = table["ordering"].tolist()
    columns["metric"] = [name.replace("_", " ") for name in table["metric"]]
    columns["sd over seeds"] = [decimal_text(value, 3) for value in table["seed_sd"]]
    columns["evaluation s.e."] = [decimal_text(value, 3) for value in table["evaluation_error"]]
    columns["its share of the variance"] = [share_text(value, 1) for value in table["share"]]
    shares = table["share"].fillna(-1.0).to_numpy()
    found = grid(
        "evaluation noise",
        pd.DataFrame(columns),
        data=records(table),
        order=[int(i) for i in np.argsort(-shares, kind="stable")],
        query=sql.noise_query(summary.axes),
    )
    known = table["share"].dropna()
    middle, most = float(known.median()), float(known.max())
    words = Prose(
        f"**Evaluation noise** is kept apart from the spread over seeds: it makes up "
        f"{share_text(middle, 1)} of the variance over seeds in the median setting and "
        f"{share_text(most, 1)} at most. The orderings of a seed are evaluated on the same "
        "samples of p*, so part of it cancels in the pairs.",
    )
    if nothing_sampled(run.table("metrics")):
        largest = float(table["evaluation_error"].max())
        words = Prose(
            "**The evaluation samples nothing**: every metric is a closed form, or a quadrature "
            f"whose two orders differ by {significant_text(largest, 1)} at most. What varies is "
            "the seed alone.",
        )
    if not math.isfinite(middle):
        words = Prose("Evaluation noise is shown beside a spread that needs at least two seeds.")
    return [words, Fold("Spread over seeds and evaluation noise of every setting", [found])]


def references_section(run: ReadRun, summary: Summary, *, brief: bool) -> Section:
    """p' and p'' before any alignment."""
    blocks: list[Block] = [portraits.reference_picture(summary)]
    if not brief and run.drawable:
        blocks.append(portraits.density_picture(run, summary))
    return Section("references", "The references, before any alignment", blocks)
