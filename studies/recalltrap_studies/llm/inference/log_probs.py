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
from transformers import DynamicCache

from recalltrap_studies.llm.data.responses import Responses

LOGITS = {"cpu": 1 << 20, "cuda": 1 << 28}
"""Logits computed at once, where that is enough for `LEAST_ROWS`: 4 MiB stay in a CPU's caches, a
sixth faster than 32."""
LEAST_ROWS = {"cpu": 16, "cuda": 1}
"""Rows scored at once at least: of 49,152 tokens 4 MiB hold no row, and the layers before the
logits take more than twice as long row by row."""
MOST_LOGITS = {"cpu": 1 << 25, "cuda": 1 << 28}
"""Logits that so many rows may have at once, 128 MiB on a CPU; longer rows go in pieces."""


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
    step = rows_at_once(model, length)
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


def rows_at_once(model: Any, length: int) -> int:
    """How many rows of a length are scored together."""
    where = model.device.type if model.device.type in LOGITS else "cpu"
    each = length * int(model.config.vocab_size)
    return max(LOGITS[where] // each, LEAST_ROWS[where])


def _score(model: Any, input_ids_BL: Tensor, mask_BL: Tensor, temperature: float) -> Tensor:
    """In pieces of the rows' length, where the logits of the whole would be too many."""
    input_ids_BL, mask_BL = input_ids_BL.to(model.device), mask_BL.to(model.device)
    rows, length = len(input_ids_BL), input_ids_BL.shape[1] - 1
    where = model.device.type if model.device.type in LOGITS else "cpu"
    piece = max(MOST_LOGITS[where] // (rows * model.config.vocab_size), 1)
    cache = DynamicCache(config=model.config) if piece < length else None
    pieces = []
    for start in range(0, length, piece):
        stop = min(start + piece, length)
        # Right padding is invisible to what comes before it: causal attention needs no mask for it.
        logits_BPV = model(
            input_ids=input_ids_BL[:, start:stop],
            use_cache=cache is not None,
            past_key_values=cache,
        ).logits.float()
        if temperature != 1.0:
            logits_BPV = logits_BPV / temperature
        chosen_BP = logits_BPV.gather(2, input_ids_BL[:, start + 1 : stop + 1, None])[:, :, 0]
        pieces.append(chosen_BP - logits_BPV.logsumexp(dim=2))
    return torch.where(mask_BL[:, 1:].bool(), torch.cat(pieces, dim=1), 0.0)


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
    start = 0
    while start < len(order):
        rows = _next_rows(model, count_B[order], start, len(prompt_ids))
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


def _next_rows(model: Any, lengths: Tensor, start: int, prompt: int) -> int:
    """How many of the sorted rows from `start` are scored together: they fit, and are alike."""
    shortest = int(lengths[start])
    alike = int(torch.searchsorted(lengths, shortest + 2 + shortest // 8, right=True)) - start
    widest = int(lengths[start + alike - 1])
    return min(alike, rows_at_once(model, prompt + widest))


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
