"""The toy's record with samples of its references, so that its studies can be checked."""

from __future__ import annotations

import numpy as np

from recalltrap.graph import Cell
from recalltrap_analysis.runs.kind_record import KindRecord, RewardSamples
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.runs.responses import Responses


def samples(cell: Cell, name: str, store: ArtifactReader) -> Responses:
    """One in ten of p' hits with a reward of 10, of p'' with 1; the model must stand."""
    assert store.has(cell.models[name])
    best = 10.0 if name == "p_prime" else 1.0
    reward = np.where(np.arange(2000) < 200, best, 0.0)[None]
    nothing = np.full_like(reward, np.nan)
    return Responses(reward, nothing, nothing, nothing, np.ones(1))


def checkable_record() -> KindRecord:
    """To stand for `record_of` in `recalltrap_analysis.check.references`."""
    kept = RewardSamples(
        lambda cell, name: cell.models[name].id, lambda c, n, s: samples(c, n, s).reward_KN, samples
    )
    return KindRecord(
        reward_supremum="reward_height",
        kl_weight="kl_weight",
        algorithm="algorithm",
        reward_samples=kept,
    )
