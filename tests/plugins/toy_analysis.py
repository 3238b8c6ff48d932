"""What the toy kind's package brings to the analysis: a claim, a section, a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from recalltrap_analysis.claims.claim import Claim
from recalltrap_analysis.claims.claim_tests import higher
from recalltrap_analysis.report.document.blocks import Block, Plot, Prose
from recalltrap_analysis.report.document.kind_analysis import (
    KindAnalysis,
    KindSection,
    SectionPart,
)
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.runs.wide_tables import column
from recalltrap_analysis.verdicts.summary import Summary


def distance_plot(run: ReadRun, summary: Summary) -> Plot:
    """How far the final models end from the target, by ordering."""
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    for place, (name, rows) in enumerate(summary.outcomes.groupby("ordering", sort=False)):
        distance_N = -column(rows, "final.target_precision").to_numpy()
        axes.plot(np.full(len(distance_N), place), distance_N, "o", label=str(name))
    axes.legend()
    return Plot("toy-distances", "Distances to the target.", "One point per cell.", figure)


def distance_blocks(run: ReadRun, summary: Summary) -> Sequence[Block]:
    """Nothing until a cell has finished."""
    if summary.outcomes.empty:
        return []
    return [Prose("The toy's models are points."), distance_plot(run, summary)]


ANALYSIS = KindAnalysis(
    sections=(KindSection("toy", "Where the points end", after="models", make=distance_blocks),),
    parts=(SectionPart("references", lambda run, summary: [Prose("The toy's references.")]),),
    reward_supremum="reward_height",
    kl_weight="kl_weight",
    swept=("kl_weight",),
    glossary=(("Point", "What a toy model is."),),
)
T1 = Claim(
    "T1", "toy", "A-K ends nearer to the target", "target precision, A-K − K-A",
    higher("target precision A-K − K-A", "target_precision"), "any toy study",
)  # fmt: skip
