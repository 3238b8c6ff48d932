"""How the sentence of a check did, once the study that it was of has run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from recalltrap.errors import InputError
from recalltrap_analysis.check.decision import COSTS_LITTLE, KEEP
from recalltrap_analysis.estimates.order_effect import ANCHORED_TO_P_PRIME, by_point
from recalltrap_analysis.number_format import count_text, setting_text
from recalltrap_analysis.report.document.blocks import Block, Prose
from recalltrap_analysis.runs.design import GridPoint, hashable
from recalltrap_analysis.runs.loaded_run import ReadRun
from recalltrap_analysis.statistics.margin import LARGER, NOT_LARGER, SMALLER, WITHIN, margin_words
from recalltrap_analysis.statistics.student import ONE_SIDED, one_sided_bounds, student_interval

FOLDER = "report/check"
"""Of a check, in its run's folder."""
JSON_FILE = "check.json"
Score = Literal["right", "wrong", "couldn't tell"]
SMALL = (WITHIN, NOT_LARGER, SMALLER)


def stored_check(run: ReadRun) -> Mapping[str, Any] | None:
    """What the last check of this study said; None where it was never checked, or can't be read."""
    path = f"{run.run}/{FOLDER}/{JSON_FILE}"
    try:
        if not run.storage.exists(path):
            return None
        found: Mapping[str, Any] = json.loads(run.storage.read(path))["check"]
    except (InputError, OSError, ValueError, KeyError) as error:
        run.problems["check"] = str(error)
        return None
    return found


def check_blocks(run: ReadRun, rows: pd.DataFrame, unit: str) -> list[Block]:
    """The sentence that was said before the study ran, and whether it was right.

    Args:
        run: The run.
        rows: Of `forecast.errors.scored_rows`.
        unit: Of its anchor part.
    """
    said = stored_check(run)
    if said is None:
        return []
    outcome, why = score(said, rows, unit)
    text = f"Before the study ran, `recalltrap check` said: “{said['sentence']}” "
    return [Prose(f"{text}That was {outcome}: {why}." if outcome != "couldn't tell"
                  else f"{text}Whether it was right this run couldn't tell: {why}.",
                  ours=False)]  # fmt: skip


def score(said: Mapping[str, Any], rows: pd.DataFrame, unit: str) -> tuple[Score, str]:
    """Whether a check's word holds for the anchor part that was measured, and why.

    *Keep p'* is judged on the mean over the grid points that it named; *costs less* at every grid
    point, where one that is larger (Holm over them, by Bonferroni's bound) makes it wrong.

    Args:
        said: A check's summary: `word`, `margin`, `unit`, and `points` with the axes and `word`.
        rows: Of `forecast.errors.scored_rows`.
        unit: Of the run's anchor part.
    """
    if said["word"] not in (KEEP, COSTS_LITTLE):
        return "couldn't tell", "the check had not decided"
    if said["unit"] != unit:
        return "couldn't tell", f"it was in {said['unit']}, and the run is in {unit}"
    measured = {
        point: values
        for point, found in by_point(rows).items()
        if np.isfinite(values := found["measured_anchor_part"].to_numpy(dtype=float)).all()
        and len(values) > 1
    }
    named = [
        tuple(hashable(one[axis]) for axis in said["axes"])
        for one in said["points"]
        if one["word"] == said["word"]
    ]
    known = [point for point in named if point in measured]
    if not known:
        return "couldn't tell", (
            f"{ANCHORED_TO_P_PRIME} has no two pairs with K-A at the grid points that it was of"
        )
    margin = float(said["margin"])
    if said["word"] == KEEP:
        return _score_keep(known, measured, margin, unit)
    return _score_costs_little(known, measured, margin)


def _score_keep(
    known: list[GridPoint], measured: Mapping[GridPoint, Any], margin: float, unit: str
) -> tuple[Score, str]:
    """The mean over the grid points that were named, seed by seed."""
    fewest = min(len(measured[point]) for point in known)
    mean_N = np.mean([measured[point][:fewest] for point in known], axis=0)
    estimate = student_interval(mean_N)
    word = margin_words(*one_sided_bounds(estimate), estimate.n, margin)
    why = (
        f"measured at {count_text(len(known), 'grid point')} of those that it named, the anchor "
        f"part is {estimate.text()} in {unit} on a margin of {setting_text(margin)}: {word}"
    )
    outcome: Score = "couldn't tell"
    if word == LARGER:
        outcome = "right"
    elif word in SMALL:
        outcome = "wrong"
    return outcome, why


def _score_costs_little(
    known: list[GridPoint], measured: Mapping[GridPoint, Any], margin: float
) -> tuple[Score, str]:
    alone, corrected = [], []
    for point in known:
        estimate = student_interval(measured[point])
        alone.append(margin_words(*one_sided_bounds(estimate), estimate.n, margin))
        strict = one_sided_bounds(estimate, ONE_SIDED / len(known))
        corrected.append(margin_words(*strict, estimate.n, margin))
    larger = corrected.count(LARGER)
    small = sum(word in SMALL for word in alone)
    points = count_text(len(known), "grid point")
    if larger:
        return (
            "wrong",
            f"the measured anchor part is larger than the margin at {larger} of {points}",
        )
    if small == len(known):
        return "right", f"the measured anchor part is not larger than the margin at all {points}"
    return "couldn't tell", (
        f"the measured anchor part is not larger than the margin at {small} of {points}, and "
        "undecided at the others"
    )
