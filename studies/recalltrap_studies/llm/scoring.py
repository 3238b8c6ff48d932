"""Log-probabilities of token sequences under a model, without gradients and in parts that fit.

The counterpart of `engines`: what was drawn there has the same log-probabilities here, at
temperature 1. Legend: B rows, L positions, T response tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from recalltrap_studies.llm.engines import Responses

LOGITS = {"cpu": 1 << 20, "cuda": 1 << 28}
"""Logits computed at once at most: 4 MiB stay in a CPU's caches, a sixth faster than 32."""


@torch.no_grad()
def token_log_probs(
    model: Any, input_ids_BL: Tensor, attention_mask_BL: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """log p(token | those before it) of every token but the first, [B, L-1], float32, nats.

    Right-padded rows; 0 where the mask is 0. Computed in parts over the batch on the model's
    device, and returned on the inputs' one.
    """
    rows, length = input_ids_BL.shape
    log_probs_BL = torch.zeros(rows, length - 1, device=input_ids_BL.device)
    limit = LOGITS.get(model.device.type, LOGITS["cpu"])
    step = max(limit // (length * model.config.vocab_size), 1)
    training = model.training
    model.eval()
    try:
        for start in range(0, rows, step):
            part = slice(start, start + step)
            scores = _score(model, input_ids_BL[part], attention_mask_BL[part], temperature)
            log_probs_BL[part] = scores.to(log_probs_BL.device)
    finally:
        model.train(training)
    return log_probs_BL


def _score(model: Any, input_ids_BL: Tensor, mask_BL: Tensor, temperature: float) -> Tensor:
    input_ids_BL, mask_BL = input_ids_BL.to(model.device), mask_BL.to(model.device)
    # Right padding is invisible to what comes before it: causal attention needs no mask for it.
    logits_BLV = model(input_ids=input_ids_BL[:, :-1], use_cache=False).logits.float()
    if temperature != 1.0:
        logits_BLV = logits_BLV / temperature
    chosen_BL = logits_BLV.gather(2, input_ids_BL[:, 1:, None])[:, :, 0]
    log_probs_BL = chosen_BL - logits_BLV.logsumexp(dim=2)
    return torch.where(mask_BL[:, 1:].bool(), log_probs_BL, 0.0)


def response_scores(
    model: Any,
    responses: Responses | tuple[Tensor, Tensor] | pa.ListArray | pa.ChunkedArray | Sequence[Any],
    prompt_ids: Sequence[int],
    *,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Sum of log-probabilities of each response's tokens, float64 [B], and their number [B].

    `responses` are drawn ones, a pair (tokens_BT, mask_BT), or lists of token ids without the
    prompt. The prompt is read and not scored. Rows are scored in the order of their lengths, so
    that little padding is computed.
    """
    tokens_BT, mask_BT = _padded(responses)
    count_B = mask_BT.sum(dim=1)
    sum_B = torch.zeros(len(tokens_BT), dtype=torch.float64)
    order = count_B.argsort(stable=True)
    limit = LOGITS.get(model.device.type, LOGITS["cpu"])
    start = 0
    while start < len(order):
        rows = _next_rows(count_B[order], start, len(prompt_ids), model.config.vocab_size, limit)
        part, start = order[start : start + rows], start + rows
        width = int(count_B[part].max())
        prompt_BP = torch.tensor([list(prompt_ids)]).expand(rows, -1)
        input_BL = torch.cat([prompt_BP, tokens_BT[part, :width]], dim=1)
        seen_BL = torch.cat(
            [torch.ones_like(prompt_BP, dtype=torch.bool), mask_BT[part, :width]], 1
        )
        scores_BL = token_log_probs(model, input_BL, seen_BL, temperature=temperature)
        sum_B[part] = scores_BL[:, len(prompt_ids) - 1 :].double().sum(dim=1)
    return sum_B, count_B


def _next_rows(lengths: Tensor, start: int, prompt: int, vocabulary: int, limit: int) -> int:
    """How many of the sorted rows from `start` are scored together: they fit, and are alike."""
    shortest = int(lengths[start])
    alike = int(torch.searchsorted(lengths, shortest + 2 + shortest // 8, right=True)) - start
    widest = int(lengths[start + alike - 1])
    return max(min(alike, limit // ((prompt + widest) * vocabulary)), 1)


def _padded(responses: Any) -> tuple[Tensor, Tensor]:
    """Tokens [B, T] and mask [B, T] on the CPU."""
    if isinstance(responses, Responses):
        return responses.tokens_BT.cpu(), responses.mask_BT.cpu()
    if isinstance(responses, tuple) and isinstance(responses[0], Tensor):
        return responses[0].cpu(), responses[1].bool().cpu()
    if isinstance(responses, pa.Array | pa.ChunkedArray):
        responses = responses.to_pylist()
    rows = [torch.tensor(tokens, dtype=torch.int64) for tokens in responses]
    tokens_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths_B = torch.tensor([len(row) for row in rows])
    return tokens_BT, torch.arange(tokens_BT.shape[1])[None] < lengths_B[:, None]
