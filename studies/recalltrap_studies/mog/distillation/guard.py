"""A student that ran after the advantage is no result: the advantage has no bound of its own.

A component that shrinks onto a maximum of it gains all the way to zero width, and the likelihood of
y+ can spare it. And where the aligned teacher has the wider tails, log(aligned / reference) grows
without end, and a component that is drawn there never comes back.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recalltrap_studies.mog.algorithm import Execution
from recalltrap_studies.mog.distillation.adpa import HELD
from recalltrap_studies.mog.distillation.registry import Adpa
from recalltrap_studies.mog.exact.expectations import log_density
from recalltrap_studies.mog.models import Array, Model
from recalltrap_studies.mog.program.nodes import RULE

COLLAPSE = 4.0
"""Nats below its teacher's entropy: a fiftieth of the area that the teacher is spread over."""


def ran_away(row: Execution, curve: Mapping[str, np.ndarray]) -> str | None:
    """What to say of a student whose entropy collapsed or whose advantage exploded, at any point of
    its curve; None of one that did neither.

    Args:
        row: A finished row.
        curve: Its `step`, `entropy` (nats) and `advantage`, the means since the step before, [S].
    """
    part, teacher = row.part, row.source
    assert isinstance(part, Adpa)
    floor = -log_density(teacher, teacher).value - COLLAPSE
    highest = largest_advantage(teacher, row.held[HELD[part.advantage_reference]])
    told = f"advantage_weight is {part.advantage_weight:g}: lower it"
    for step, entropy, mean in zip(
        curve["step"], curve["entropy"], curve["advantage"], strict=True
    ):
        if not mean <= highest:  # also where it isn't a number
            return (
                f"the student with seed {row.seed} ran away by iteration {step}: its mean "
                f"advantage is {mean:.3g}, and its teacher meets {highest:.3g} at most; {told}"
            )
        if not entropy >= floor:
            return (
                f"the entropy of the student with seed {row.seed} collapsed by iteration {step}: "
                f"{entropy:.2f} nats, {COLLAPSE:g} below its teacher's or less; {told}"
            )
    return None


def largest_advantage(teacher: Model, reference: Model) -> float:
    """The largest log(teacher / reference) wherever the teacher has mass: at all of its nodes."""
    first_N, second_N, _ = (np.asarray(values) for values in RULE)
    l11, l21, l22 = teacher.cholesky.T[..., None]
    x_KN = teacher.means[:, 0, None] + l11 * first_N
    y_KN = teacher.means[:, 1, None] + l21 * first_N + l22 * second_N
    points_M2: Array = np.stack([x_KN.ravel(), y_KN.ravel()], axis=1)
    return float((teacher.log_prob(points_M2) - reference.log_prob(points_M2)).max())
