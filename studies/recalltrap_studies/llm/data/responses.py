"""What a model is asked for, and what it answers: token ids, without their prompt.

Legend: B rows, P prompt tokens, T new tokens at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from recalltrap.errors import InputError


@dataclass(frozen=True)
class PromptRows:
    """The prompts of B rows, padded on the left, on the CPU; a single one stands for any number.

    `ids_BP` int64, 0 where `mask_BP` (bool) says that there is no token. Where none is padded,
    models are called as for one prompt: without a mask and without positions.
    """

    ids_BP: Tensor
    mask_BP: Tensor

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]]) -> PromptRows:
        """One row for each prompt, as wide as the longest."""
        width = max(len(prompt) for prompt in prompts)
        ids_BP = torch.zeros(len(prompts), width, dtype=torch.int64)
        mask_BP = torch.zeros(len(prompts), width, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            start = width - len(prompt)
            ids_BP[row, start:] = torch.tensor(list(prompt), dtype=torch.int64)
            mask_BP[row, start:] = True
        return cls(ids_BP, mask_BP)

    @classmethod
    def same(cls, prompt_ids: Sequence[int], rows: int = 1) -> PromptRows:
        """One prompt for so many rows."""
        return cls.of([prompt_ids]).expanded(rows)

    def __len__(self) -> int:
        return len(self.ids_BP)

    @property
    def width(self) -> int:
        """Tokens of the longest prompt."""
        return self.ids_BP.shape[1]

    @cached_property
    def padded(self) -> bool:
        """Whether any row is shorter than the longest."""
        return not bool(self.mask_BP.all())

    @property
    def lengths_B(self) -> Tensor:
        """Tokens of each prompt."""
        return self.mask_BP.sum(dim=1)

    def expanded(self, rows: int) -> PromptRows:
        """The same for so many rows: a single prompt is repeated."""
        if len(self) == rows:
            return self
        assert len(self) == 1, f"{len(self)} prompts for {rows} rows"
        return PromptRows(self.ids_BP.expand(rows, -1), self.mask_BP.expand(rows, -1))

    def take(self, index_B: Tensor) -> PromptRows:
        """The prompts of some rows, as wide as the longest of them; a single prompt is itself."""
        if len(self) == 1:
            return self
        index_B = index_B.cpu()
        start = self.width - int(self.lengths_B[index_B].max())
        return PromptRows(self.ids_BP[index_B, start:], self.mask_BP[index_B, start:])

    def lists(self) -> list[list[int]]:
        """Each prompt's token ids, without padding."""
        rows = zip(self.ids_BP, self.mask_BP, strict=True)
        return [ids_P[mask_P].tolist() for ids_P, mask_P in rows]


@dataclass(frozen=True)
class Request:
    """What to draw: responses to `prompts`, at most `max_new_tokens` long, EOS included."""

    prompts: PromptRows
    max_new_tokens: int
    temperature: float
    eos_id: int
    pad_id: int

    def take(self, index_B: Tensor) -> Request:
        """The same to the prompts of some rows; see `PromptRows.take`."""
        return replace(self, prompts=self.prompts.take(index_B))


@dataclass(frozen=True)
class Responses:
    """Responses without their prompt, on the model's device.

    `tokens_BT` int64 is padded on the right; `mask_BT` is true up to and including the first EOS;
    `log_probs_BT` float32, nats, under the tempered distribution, 0 outside the mask; `finished_B`
    says where an EOS came.
    """

    tokens_BT: Tensor
    mask_BT: Tensor
    log_probs_BT: Tensor
    finished_B: Tensor


def request(
    tokenizer: PreTrainedTokenizerBase,
    prompts: PromptRows,
    max_new_tokens: int,
    temperature: float = 1.0,
) -> Request:
    """What to draw: responses to the prompts from the model's own distribution, uncut."""
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    return Request(prompts, max_new_tokens, temperature, eos, eos if pad is None else pad)


def check_context(config: Any, request: Request, field: str = "sample_tokens") -> None:
    """Refuse a prompt and a response that don't fit the context together.

    Raises:
        InputError: naming the prompt's setting and the field that holds the response's length.
    """
    length, context = request.prompts.width, int(config.max_position_embeddings)
    one = len(request.prompts) == 1
    if length + request.max_new_tokens > context:
        raise InputError(
            f"{'settings.prompt' if one else 'the longest prompt of settings.prompts'} has "
            f"{length} tokens and settings.{field} = "
            f"{request.max_new_tokens}: {length + request.max_new_tokens} together, and the "
            f"model's context holds {context}. Shorten the prompt, or lower {field}"
        )


def padded(lists: Sequence[npt.NDArray[np.int64]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token lists as a padded tensor and its mask, both [B, T]."""
    width = max(len(tokens) for tokens in lists)
    tokens_BT = torch.zeros(len(lists), width, dtype=torch.int64)
    mask_BT = torch.zeros(len(lists), width, dtype=torch.bool)
    for row, tokens in enumerate(lists):
        tokens_BT[row, : len(tokens)] = torch.from_numpy(np.array(tokens, dtype=np.int64))
        mask_BT[row, : len(tokens)] = True
    return tokens_BT, mask_BT
