"""Rewards of the samples that the references were assessed with, for best of n."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recalltrap.errors import InputError
from recalltrap.graph import Cell, Node
from recalltrap_analysis.runs.kind_record import RewardSamples
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.statistics.paired import Array

OWN_SAMPLES = "own.parquet"
"""Of an assessment: the model's own samples under every scorer, `reward` among the columns."""


def reward_key(cell: Cell, name: str) -> Hashable:
    """The assessment: it holds the model, the prompt and the reward."""
    return _assessment(cell, name).id


def _assessment(cell: Cell, name: str) -> Node:
    if name not in cell.assessments:
        raise InputError(f"nothing assesses {name} of seed {cell.seed}")
    return cell.assessments[name]


def reference_rewards(cell: Cell, name: str, store: ArtifactReader) -> Array:
    """Rewards of one reference's samples, shape [1, samples]: there is one prompt.

    Raises:
        InputError: the assessment is not stored, or its samples can't be read.
    """
    node = _assessment(cell, name)
    if not store.has(node):
        raise InputError(f"the samples of {name} of seed {cell.seed} are not in the store")
    try:
        table = pq.read_table(pa.BufferReader(store.read(node, OWN_SAMPLES)), columns=["reward"])
    except pa.ArrowException as error:
        raise InputError(
            f"the samples of {name} of seed {cell.seed} can't be read: {error}"
        ) from None
    return np.asarray(table["reward"].to_numpy(), dtype=float)[None]


REWARD_SAMPLES = RewardSamples(reward_key, reference_rewards)
