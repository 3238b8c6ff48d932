"""What a model is asked for, and what it answers: token ids, without their prompt.

Legend: B rows, T new tokens at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from recalltrap.errors import InputError
from recalltrap_studies.llm.models.tokenizers import encode_prompt


@dataclass(frozen=True)
class Request:
    """What to draw: responses to one prompt, at most `max_new_tokens` long, EOS included."""

    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    temperature: float
    eos_id: int
    pad_id: int


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
    tokenizer: PreTrainedTokenizerBase, prompt: str, max_new_tokens: int, temperature: float = 1.0
) -> Request:
    """What to draw: responses to the prompt from the model's own distribution, uncut."""
    prompt_ids = tuple(encode_prompt(tokenizer, prompt))
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    return Request(prompt_ids, max_new_tokens, temperature, eos, eos if pad is None else pad)


def check_context(config: Any, request: Request, field: str = "sample_tokens") -> None:
    """Refuse a prompt and a response that don't fit the context together.

    Raises:
        InputError: naming `settings.prompt` and the field that holds the response's length.
    """
    length, context = len(request.prompt_ids), int(config.max_position_embeddings)
    if length + request.max_new_tokens > context:
        raise InputError(
            f"settings.prompt has {length} tokens and settings.{field} = "
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
