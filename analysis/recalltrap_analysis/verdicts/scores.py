"""Models judged by scorers that nothing optimised: a run's outcomes with a scorer as the reward.

All that is known of rewards can then be said of scores, in standard deviations of the score under
p', seed by seed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recalltrap_analysis.estimates.attainment import ATTAINMENT, SD, reward_unit
from recalltrap_analysis.runs.prompt_rewards import without_prompt_rewards
from recalltrap_analysis.runs.wide_tables import MODELS, SCORE, SCORE_SD, column


def scorers(outcomes: pd.DataFrame, model: str = "final") -> list[str]:
    """The scorers that any model of that name was judged by, in the order of the tables.

    Args:
        outcomes: One row per cell, as `cell_outcomes` returns it.
        model: One of `MODELS`.
    """
    start = f"{model}.{SCORE}/"
    return [str(name).removeprefix(start) for name in outcomes if str(name).startswith(start)]


def score_metric(scorer: str) -> str:
    """What a difference of scores is called among metrics."""
    return f"{SCORE}/{scorer}"


def score_unit(scorer: str) -> str:
    """The unit of differences of scores."""
    return f"sd of {scorer} under p'"


def scored(outcomes: pd.DataFrame, scorer: str) -> pd.DataFrame:
    """The outcomes with a scorer's scores in the place of rewards; what is known of none is NaN."""
    scores = {
        f"{model}.reward": column(outcomes, f"{model}.{score_metric(scorer)}") for model in MODELS
    }
    sd = column(outcomes, f"p_prime.{SCORE_SD}/{scorer}")
    return without_prompt_rewards(outcomes).assign(**scores, **{SD: sd}, reward_supremum=np.nan)


def above_p_prime(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The outcomes with levels that are 0 at p', whatever the unit is."""
    if reward_unit(outcomes) != ATTAINMENT:
        return outcomes
    second, prime = (column(outcomes, f"{name}.reward") for name in ("p_second", "p_prime"))
    moved = column(outcomes, "final.reward") - prime + second
    return without_prompt_rewards(outcomes).assign(**{"final.reward": moved})
