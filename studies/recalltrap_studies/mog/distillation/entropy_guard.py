"""A student whose entropy collapsed is no result: the advantage has no bound that the loss notices.

A component that shrinks onto a maximum of the advantage gains all the way to zero width, and the
likelihood of y+ can spare it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from recalltrap_studies.mog.algorithm import Execution
from recalltrap_studies.mog.exact.expectations import log_density

COLLAPSE = 4.0
"""Nats below its teacher's entropy: a fiftieth of the area that the teacher is spread over."""


def collapsed(row: Execution, curve: Mapping[str, np.ndarray]) -> str | None:
    """What to say of a student that collapsed at any point of its curve; None of one that didn't.

    Args:
        row: A finished row.
        curve: Its `step` and `entropy` (nats, the mean since the step before), each [S].
    """
    floor = -log_density(row.source, row.source).value - COLLAPSE
    low = np.flatnonzero(~(curve["entropy"] >= floor))  # also where it isn't a number
    if not len(low):
        return None
    step, entropy = int(curve["step"][low[0]]), float(curve["entropy"][low[0]])
    value = f"{entropy:.2f} nats" if math.isfinite(entropy) else str(entropy)
    weight = getattr(row.part, "advantage_weight")  # noqa: B009 - of one part alone
    return (
        f"the entropy of the student with seed {row.seed} collapsed by iteration {step}: {value}, "
        f"{COLLAPSE:g} below its teacher's or less; advantage_weight is {weight:g}: lower it"
    )
