"""How well students learned: held-out loss against the teacher's entropy, and if it still fell.

A student's loss above its teacher's entropy is the KL divergence of teacher and student, per
token. Part of it is capacity; a loss that still falls is training cut short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.order_effect import COMPLETE, by_point
from recalltrap_analysis.number_format import decimal_text, point_text, setting_text, signed_text
from recalltrap_analysis.runs.design import GridPoint
from recalltrap_analysis.runs.wide_tables import column, point_keys, rows_of
from recalltrap_analysis.statistics.paired import Array

STAGES = {"p_prime": "sft", "p_second": "distill", "final": "distill-2"}
"""Under which stage of the `curves` table a model's training stands. A cell's first distillation
makes p''; the one that an ordering ends with is the second."""
HALF = 0.5
STILL_FALLS = 0.02
"""Nats per token: a held-out loss that fell by more between half of its training and the beginning
of the learning rate's decay was cut short. (The decay itself always lowers it.)"""
SMALL_GAP = 0.1
"""Nats per token above the teacher's entropy that a student may keep: there is no more to learn."""
FLAT_UPDATES = 200
"""Over how many updates a loss that stays further above it must have been flat."""
TITLES = {"p_prime": "p'", "p_second": "p''", "final": "final"}
TEACHERS = {"p_prime": "p*", "p_second": "p'", "A-K": "p'_AK", "K-A-K": "p''_KA"}


@dataclass(frozen=True)
class Training:
    """One student over seeds: a cell's model, and how it was trained.

    `points` are the grid points that share it: p' knows nothing of an alignment, say.
    """

    points: tuple[GridPoint, ...]
    ordering: str  # empty for p' and p'', which all orderings share
    model: str
    loss_N: Array
    entropy_N: Array
    fall_N: Array  # NaN where the curve doesn't tell
    span_N: Array  # updates that the fall was seen over, NaN likewise

    @property
    def gap(self) -> float:
        """Mean KL of teacher and student, nats per token."""
        return float((self.loss_N - self.entropy_N).mean())

    @property
    def converged(self) -> bool | None:
        """Whether the loss had stopped falling, near its bound or for long; None where the curves
        don't tell."""
        if not np.isfinite(self.fall_N).any():
            return None
        near = self.gap <= SMALL_GAP
        return self.fall <= STILL_FALLS and (near or self.span >= FLAT_UPDATES)

    @property
    def fall(self) -> float:
        """By how much the loss still fell, the seeds' mean; NaN where the curves don't tell."""
        known = np.isfinite(self.fall_N)
        return float(self.fall_N[known].mean()) if known.any() else float("nan")

    @property
    def span(self) -> float:
        """Over how many updates that was seen, in the seed with the fewest."""
        known = np.isfinite(self.span_N)
        return float(self.span_N[known].min()) if known.any() else float("nan")

    @property
    def verdict(self) -> str:
        """Whether it is converged, and by which sign."""
        if self.converged is None:
            return "the curves don't tell"
        if self.fall > STILL_FALLS:
            return f"no: it still fell by more than {setting_text(STILL_FALLS)}"
        if self.gap <= SMALL_GAP:
            return f"yes: within {setting_text(SMALL_GAP)} of the teacher's entropy"
        if self.span >= FLAT_UPDATES:
            return f"yes: flat over {decimal_text(self.span, 0)} updates"
        above = f"{decimal_text(self.gap)} above it, and " if np.isfinite(self.gap) else ""
        return f"no: {above}flat over {decimal_text(self.span, 0)} updates alone"

    @property
    def teacher(self) -> str:
        """Whose samples it learned."""
        key = self.ordering if self.model == "final" else self.model
        return TEACHERS.get(key, "the model before it")

    @property
    def title(self) -> str:
        """E.g. ``final of A-K``."""
        name = TITLES[self.model]
        return f"{name} of {self.ordering}" if self.ordering else name


def fall(step_T: Array, loss_T: Array, decay_share: float) -> tuple[float, float]:
    """By how much a held-out loss fell between half of the training and the decay's beginning, and
    over how many updates that was seen.

    NaN with fewer than two measured points in that time, or where either end is not finite.
    `step_T` rises and ends with the last update.
    """
    if len(step_T) < 2:
        return float("nan"), float("nan")
    end = step_T[-1]
    inside = (step_T >= HALF * end - 1e-9) & (step_T <= (1.0 - decay_share) * end + 1e-9)
    known, steps = loss_T[inside], step_T[inside]
    if len(known) < 2 or not np.isfinite(known[[0, -1]]).all():
        return float("nan"), float("nan")
    return float(known[0] - known[-1]), float(steps[-1] - steps[0])


def trainings(
    outcomes: pd.DataFrame, curves: pd.DataFrame, axes: Sequence[str], decay_share: float
) -> list[Training]:
    """Every student; empty where no model reports a held-out loss.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        curves: Columns `cell_id`, `stage`, `step`, `value` of the metric `heldout_loss`.
        axes: The grid's axes.
        decay_share: The last share of the updates, in which the learning rate falls.
    """
    falls: dict[tuple[str, str], tuple[float, float]] = {}
    for (cell_id, stage), rows in curves.groupby(["cell_id", "stage"], sort=False):
        rows = rows.sort_values("step")
        step_T, loss_T = (rows[name].to_numpy(dtype=float) for name in ("step", "value"))
        falls[str(cell_id), str(stage)] = fall(step_T, loss_T, decay_share)
    keyed = outcomes.assign(point=pd.Series(point_keys(outcomes, axes), dtype=object))
    found: dict[tuple[str, str, bytes], Training] = {}
    for point, rows in by_point(keyed).items():
        for model, stage in STAGES.items():
            mine = rows[column(rows, f"{model}.heldout_loss").notna()]
            arms: dict[str, pd.DataFrame] = {"": mine.drop_duplicates("seed")}
            if model == "final":
                mine = mine[mine["ordering"] != "K"]  # its final model is p'' itself
                arms = {str(name): arm for name, arm in mine.groupby("ordering", sort=False)}
            for ordering, arm in arms.items():
                if len(arm):
                    unknown = (np.nan, np.nan)
                    fall_N2 = [falls.get((cell_id, stage), unknown) for cell_id in arm["cell_id"]]
                    one = _training(point, ordering, model, arm, np.array(fall_N2))
                    key = (ordering, model, one.loss_N.tobytes() + one.entropy_N.tobytes())
                    points = (*found[key].points, point) if key in found else (point,)
                    found[key] = replace(one, points=points)
    return list(found.values())


def _training(
    point: GridPoint, ordering: str, model: str, rows: pd.DataFrame, fall_N2: Array
) -> Training:
    loss_N, entropy_N = (
        column(rows, f"{model}.{name}").to_numpy() for name in ("heldout_loss", "teacher_entropy")
    )
    return Training((point,), ordering, model, loss_N, entropy_N, *fall_N2.T)


def unconverged(found: Sequence[Training], axes: Sequence[str]) -> list[str]:
    """One plain sentence per student that isn't converged, the grid points of one together."""
    lines: dict[str, list[Training]] = {}
    for one in found:
        if one.converged is False:
            lines.setdefault(one.title, []).append(one)
    sentences = []
    for title, ones in lines.items():
        falling = [one for one in ones if one.fall > STILL_FALLS]
        worst = max(falling or ones, key=lambda one: one.fall if falling else one.gap)
        where = f", most of all at {point_text(worst.points[0], axes)}" if len(ones) > 1 else ""
        sentences.append(
            f"{title} is not converged: {_why_not(worst)}{where}. Train it longer before crediting "
            "a difference to the ordering."
        )
    return sentences


def _why_not(one: Training) -> str:
    if one.fall > STILL_FALLS:
        return (
            "before its learning rate decayed, its held-out loss still fell by "
            f"{decimal_text(one.fall, 3)} nats per token (more than {setting_text(STILL_FALLS)})"
        )
    above = (
        f"it ends {decimal_text(one.gap, 3)} nats per token above its teacher's entropy (more than "
        f"{setting_text(SMALL_GAP)}), and "
    )
    return (
        f"{above if np.isfinite(one.gap) else ''}its held-out loss was seen to be flat over "
        f"{decimal_text(one.span, 0)} updates alone (fewer than {FLAT_UPDATES})"
    )


def lost_in_last_distillation(
    found: Sequence[Training], order_effect: pd.DataFrame, axes: Sequence[str]
) -> list[str]:
    """Where A-K's last distillation loses more than the orderings differ by, per token.

    Args:
        found: The students.
        order_effect: The order effect's table.
        axes: The grid's axes.
    """
    effects: dict[GridPoint, Mapping[str, Any]] = {
        row["point"]: row for row in rows_of(order_effect) if row["state"] == COMPLETE
    }
    lost = []
    for one in found:
        for point in one.points if (one.model, one.ordering) == ("final", "A-K") else ():
            if point not in effects:
                continue
            effect = float(effects[point]["target_precision_difference"])
            if one.gap > abs(effect):
                lost.append((one, point, effect))
    if not lost:
        return []
    one, point, effect = max(lost, key=lambda loss: loss[0].gap - abs(loss[2]))
    where = f" (most at {point_text(point, axes)})" if axes else ""
    return [
        f"At {len(lost)} of {len(effects)} complete grid points the last distillation of A-K loses "
        "more against its teacher than the orderings differ in target precision, "
        f"{decimal_text(one.gap, 3)} against {signed_text(effect, 3)} nats per token{where}: its "
        "own loss may hide the ordering's effect. p'_AK and the decomposition show what came "
        "before it."
    ]
