"""Sums of responses' log-probabilities: by the scorer, and by plain log-softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recalltrap_studies.llm.data.responses import PromptRows, Responses, padded
from recalltrap_studies.llm.inference.log_probs import score_responses


def response_sums(
    model: Any, responses: Responses | Sequence[Sequence[int]], prompt: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Sums of log-probabilities [B], float64, and numbers of tokens [B], on the CPU."""
    tokens_BT, mask_BT = tokens_of(responses)
    log_probs_BT = score_responses(model, tokens_BT, mask_BT, PromptRows.same(prompt))
    return log_probs_BT.double().sum(dim=1), mask_BT.sum(dim=1)


def tempered_sums(
    model: Any,
    responses: Responses | Sequence[Sequence[int]],
    prompt: Sequence[int],
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """The same under the tempered distribution, row by row and in float64."""
    rows = [t[m].tolist() for t, m in zip(*tokens_of(responses), strict=True)]
    sums = [plain_log_probs(model, prompt, row, temperature).sum() for row in rows]
    return torch.stack(sums), torch.tensor([len(row) for row in rows])


def plain_log_probs(
    model: Any, prompt: Sequence[int], response: Sequence[int], temperature: float = 1.0
) -> Tensor:
    """log p of each token of one response, from one unpadded row."""
    ids = torch.tensor([[*prompt, *response]])
    with torch.no_grad():
        log_probs_LV = (model(input_ids=ids).logits[0].double() / temperature).log_softmax(1)
    chosen: Tensor = log_probs_LV[:-1].gather(1, ids[0, 1:, None])[len(prompt) - 1 :, 0]
    return chosen


def tokens_of(responses: Responses | Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Tokens and mask on the CPU, both [B, T]."""
    if isinstance(responses, Responses):
        return responses.tokens_BT.cpu(), responses.mask_BT.cpu()
    return padded([np.array(row, np.int64) for row in responses])
