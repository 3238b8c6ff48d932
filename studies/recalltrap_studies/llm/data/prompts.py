"""The prompts that a stage asks, and which row of a sample gets which of them.

Legend: K prompts, N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from recalltrap.streams import stream
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.models.tokenizers import encode_prompt

PART, HELD_OUT = "prompts_of", "holdout"
"""A stage's configuration says by this name and value that it asks the held-out prompts."""


@dataclass(frozen=True)
class PromptSet:
    """K prompts: their ids, their token ids, and how much each counts; weights sum to 1."""

    ids: tuple[str, ...]
    rows: PromptRows
    weight_K: np.ndarray[Any, np.dtype[np.float64]]

    @classmethod
    def one(cls, tokens: list[int], name: str = "1") -> PromptSet:
        """A single prompt."""
        return cls((name,), PromptRows.same(tokens), np.ones(1))

    def __len__(self) -> int:
        return len(self.ids)

    def drawn(self, count: int, seed: int, name: str, together: int = 1) -> Tensor:
        """Which prompt each of `count` rows gets, by weight and a named stream: [N] int64.

        So many rows after each other are `together`, and get the same one: a pair, a group.
        """
        if len(self) == 1:
            return torch.zeros(count, dtype=torch.int64)
        places = -(-count // together)
        drawn = stream(seed, name).choice(len(self), places, p=self.weight_K)
        return torch.from_numpy(np.repeat(drawn, together)[:count])

    def evenly(self, count: int, start: int = 0) -> Tensor:
        """The prompts in turn, whatever their weights, from row `start` of a sample on: [N]."""
        return torch.arange(start, start + count) % len(self)


def asked(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> PromptSet:
    """The prompts of a stage's configuration, in its model's tokens.

    Raises:
        InputError: the vocabulary can't spell one.
    """
    return PromptSet.one(encode_prompt(tokenizer, config["prompt"]))
