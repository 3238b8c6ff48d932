"""Samples of the references and their rewards, as their assessments hold them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recalltrap.errors import InputError
from recalltrap.graph import Cell, Node
from recalltrap_analysis.runs.kind_record import RewardSamples
from recalltrap_analysis.runs.protocol import ArtifactReader
from recalltrap_analysis.runs.responses import Responses, of_each_prompt
from recalltrap_analysis.statistics.paired import Array

OWN_SAMPLES, PROMPTS = "own.parquet", "prompts.parquet"
"""Of an assessment: the model's own samples under every scorer, `reward` among the columns; and the
prompts that they answer, where they are a file's."""
SCORERS = tuple(f"scorer_{number}" for number in range(1, 9))
"""The columns of scorers that weren't optimised, in the order of the `metrics` table."""
RESPONSES = ("reward", "log_p_star", "length", "finished", *SCORERS)


def reward_key(cell: Cell, name: str) -> Hashable:
    """The assessment: it holds the model, the prompts and the reward."""
    return _assessment(cell, name).id


def _assessment(cell: Cell, name: str) -> Node:
    if name not in cell.assessments:
        raise InputError(f"nothing assesses {name} of seed {cell.seed}")
    return cell.assessments[name]


def reference_rewards(cell: Cell, name: str, store: ArtifactReader) -> Array:
    """Rewards of one reference's samples, shape [prompts, samples].

    Raises:
        InputError: the assessment is not stored, or its samples can't be read.
    """
    return _columns(cell, name, store, ["reward"])[0]["reward"]


def reference_responses(cell: Cell, name: str, store: ArtifactReader) -> Responses:
    """The samples that one reference was assessed with; p* judges them.

    Raises:
        InputError: the assessment is not stored, or its samples can't be read.
    """
    found, names, weight_K = _columns(cell, name, store, RESPONSES)
    length_KN = found["length"]
    return Responses(
        reward_KN=found["reward"],
        judge_KN=found["log_p_star"] / np.maximum(length_KN, 1.0),
        tokens_KN=length_KN,
        finished_KN=found["finished"],
        weight_K=weight_K,
        prompts=names,
        scores=tuple(found[one] for one in SCORERS if one in found),
    )


def _columns(
    cell: Cell, name: str, store: ArtifactReader, wanted: Sequence[str]
) -> tuple[dict[str, Array], tuple[str, ...], Array]:
    """Columns of the own samples as [prompts, samples], the prompts' names and their weights.

    Of the wanted columns, scorers' are left out where there are none.
    """
    node = _assessment(cell, name)
    if not store.has(node):
        raise InputError(f"the samples of {name} of seed {cell.seed} are not in the store")
    several = "prompts" in node.config
    try:
        columns = [*wanted, "prompt"] if several else list(wanted)
        file = pq.ParquetFile(pa.BufferReader(store.read(node, OWN_SAMPLES)))
        table = file.read(columns=columns)
        kept = [one for one in wanted if one not in SCORERS or one in table.column_names]
        values = {one: table[one].to_numpy().astype(float) for one in kept}
        if not several:
            return {one: x_N[None] for one, x_N in values.items()}, ("the prompt",), np.ones(1)
        asked = pq.read_table(pa.BufferReader(store.read(node, PROMPTS)))
    except (pa.ArrowException, KeyError) as error:
        raise InputError(
            f"the samples of {name} of seed {cell.seed} can't be read: {error}"
        ) from None
    prompt_N = table["prompt"].to_numpy().astype(np.int64)
    names = tuple(str(one) for one in asked["prompt_id"].to_pylist())
    return of_each_prompt(prompt_N, values, len(names)), names, asked["weight"].to_numpy()


REWARD_SAMPLES = RewardSamples(
    reward_key, reference_rewards, reference_responses, setting="evaluation_samples"
)
