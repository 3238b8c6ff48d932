"""Final models' mean rewards prompt by prompt, beside each cell's other outcomes.

For runs whose p' was given: there held-out prompts are a second sample beside the seeds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

BY_PROMPT = "final.reward@"
"""A column's name, before the prompt's id."""
NEEDED = frozenset(("cell_id", "model", "prompt_id", "reward"))


def with_prompt_rewards(outcomes: pd.DataFrame, responses: pa.Table) -> pd.DataFrame:
    """The outcomes with a column of mean rewards for every held-out prompt.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        responses: The `responses` table; empty where a run has none.

    Returns:
        The outcomes as they are where the table tells of fewer than two prompts; NaN in a cell that
        lacks responses to a prompt.
    """
    if responses.num_rows == 0 or not set(responses.column_names) >= NEEDED:
        return outcomes
    final = responses.filter(pc.field("model") == "final")
    means = final.group_by(["cell_id", "prompt_id"]).aggregate([("reward", "mean")]).to_pandas()
    if means["prompt_id"].nunique() < 2:
        return outcomes
    wide = means.pivot(index="cell_id", columns="prompt_id", values="reward_mean")
    wide = wide.reindex(outcomes["cell_id"]).add_prefix(BY_PROMPT).reset_index(drop=True)
    found: pd.DataFrame = pd.concat([outcomes.reset_index(drop=True), wide.astype(float)], axis=1)
    return found


def without_prompt_rewards(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The outcomes as they were before `with_prompt_rewards`."""
    return outcomes.drop(columns=_names(outcomes))


def prompt_rewards(outcomes: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Mean rewards of final models by prompt; shape [cells, prompts], no prompts where unknown."""
    names = _names(outcomes)
    return np.asarray(outcomes[names], dtype=float).reshape(len(outcomes), len(names))


def _names(outcomes: pd.DataFrame) -> list[str]:
    return [str(name) for name in outcomes if str(name).startswith(BY_PROMPT)]
