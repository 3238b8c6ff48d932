"""Samples of one reference as the checks read them. Shapes: K prompts, N samples of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recalltrap_analysis.statistics.paired import Array


@dataclass(frozen=True)
class Responses:
    """N samples of one model to each of K prompts, all arrays of shape [K, N].

    `judge_KN`: log-likelihood per token under the judge, p*, in nats; `tokens_KN` its length;
    `finished_KN`: 1 where a response ended by itself. NaN where a kind has no such thing.
    `weight_K`: what a prompt counts, 1 in all; `prompts` are their names.
    """

    reward_KN: Array
    judge_KN: Array
    tokens_KN: Array
    finished_KN: Array
    weight_K: Array
    prompts: tuple[str, ...] = ("the prompt",)
    scores: tuple[Array, ...] = ()
    """Of every scorer that wasn't optimised, in the order of the tables; shape [K, N] each."""

    @property
    def samples(self) -> int:
        """Of all prompts together."""
        return int(self.reward_KN.size)


def of_each_prompt(
    prompt_N: NDArray[np.int64], values: dict[str, Array], prompts: int
) -> dict[str, Array]:
    """Columns over samples as arrays [K, N], prompt by prompt in the order of the samples.

    Where prompts have unequal numbers of samples, those beyond the fewest are left out.

    Raises:
        ValueError: a prompt without a sample.
    """
    order = np.argsort(prompt_N, kind="stable")
    count_K = np.bincount(prompt_N, minlength=prompts)
    fewest = int(count_K.min())
    if not fewest:
        raise ValueError(f"{int((count_K == 0).sum())} of {prompts} prompts have no sample")
    start_K = np.cumsum(count_K) - count_K
    place_KN = order[start_K[:, None] + np.arange(fewest)]
    return {name: column[place_KN] for name, column in values.items()}
