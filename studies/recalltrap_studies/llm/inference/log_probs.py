"""Log-probabilities of responses after their prompts: in one pass with gradients, in parts without.

The counterpart of `sampling_engines`: what was drawn there at temperature 1 has the same
log-probabilities here. Legend: B rows, T response tokens, P tokens of a piece, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.inference.batch_sizes import AT_ONCE, scoring_budget
from recalltrap_studies.llm.inference.left_padding import lengthened, placement, row_mask


def response_log_probs(
    model: Any, tokens_BT: Tensor, prompts: PromptRows, *, hidden: bool = False
) -> tuple[Tensor, Tensor | None]:
    """log p(y_t | prompt, y_<t) [B, T], float32, nats, of one pass that gradients go through.

    Responses are padded on the right: causal attention needs no mask for what comes later. Where
    `hidden`, also the last hidden state that each token was predicted from, [B, T, H].
    """
    inputs_BL = torch.cat([_prompts(tokens_BT, prompts), tokens_BT[:, :-1]], dim=1)
    mask_BL = lengthened(row_mask(prompts, *_rows(tokens_BT)), tokens_BT.shape[1] - 1)
    output = _forward(model, inputs_BL, mask_BL, tokens_BT.shape[1], output_hidden_states=hidden)
    log_probs_BT = _chosen(output.logits, tokens_BT)
    if not hidden:
        return log_probs_BT, None
    return log_probs_BT, output.hidden_states[-1][:, -tokens_BT.shape[1] :]


@torch.no_grad()
def score_responses(model: Any, tokens_BT: Tensor, mask_BT: Tensor, prompts: PromptRows) -> Tensor:
    """The same without gradients, 0 where the mask is; in parts that memory holds.

    Computed in eval mode on the model's device, and returned on the tokens' one.
    """
    budget = scoring_budget(model.device)
    vocabulary, longest = int(model.config.vocab_size), tokens_BT.shape[1]
    rows = budget.rows_in_pieces((prompts.width + longest) * vocabulary)

    def forward(part_BT: Tensor, row_B: Tensor) -> tuple[Tensor]:
        piece = max(budget.most // (len(part_BT) * vocabulary), 1)
        part_BT, theirs = part_BT.to(model.device), prompts.take(row_B)
        if piece >= longest:
            return (response_log_probs(model, part_BT, theirs)[0],)
        return (_in_pieces(model, part_BT, theirs, piece),)

    training = model.training
    model.eval()
    try:
        (log_probs_BT,) = in_parts(forward, (tokens_BT, torch.arange(len(tokens_BT))), rows)
    finally:
        model.train(training)
    return torch.where(mask_BT.bool(), log_probs_BT.to(tokens_BT.device), 0.0)


@torch.no_grad()
def in_parts(
    forward: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], rows: int
) -> tuple[Tensor, ...]:
    """`forward(*inputs)` without gradients, at most so many of their rows at once."""
    split = [torch.split(one, rows) for one in inputs]
    parts = [forward(*part) for part in zip(*split, strict=True)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _in_pieces(model: Any, tokens_BT: Tensor, prompts: PromptRows, piece: int) -> Tensor:
    """So many tokens of the rows after the other, where all their logits would be too many."""
    cache = DynamicCache(config=model.config)
    before_BL, mask_BL = _prompts(tokens_BT, prompts), row_mask(prompts, *_rows(tokens_BT))
    pieces: list[Tensor] = []
    for tokens_BP in torch.split(tokens_BT, piece, dim=1):
        inputs_BL = torch.cat([before_BL, tokens_BP[:, :-1]], dim=1)
        new = tokens_BP.shape[1] - (not pieces)  # the prompt stands in the mask from the start
        mask_BL = lengthened(mask_BL, new)
        output = _forward(model, inputs_BL, mask_BL, tokens_BP.shape[1], past_key_values=cache)
        pieces.append(_chosen(output.logits, tokens_BP))
        before_BL = tokens_BP[:, -1:]
    return torch.cat(pieces, dim=1)


def _rows(tokens_BT: Tensor) -> tuple[int, torch.device]:
    return len(tokens_BT), tokens_BT.device


def _prompts(tokens_BT: Tensor, prompts: PromptRows) -> Tensor:
    return prompts.ids_BP.to(tokens_BT.device).expand(len(tokens_BT), -1)


def _forward(
    model: Any, inputs_BL: Tensor, mask_BL: Tensor | None, kept: int, **options: Any
) -> Any:
    options |= placement(model, mask_BL, inputs_BL.shape[1])
    cached = "past_key_values" in options
    return model(input_ids=inputs_BL, use_cache=cached, logits_to_keep=kept, **options)


def _chosen(logits_BPV: Tensor, tokens_BP: Tensor) -> Tensor:
    """log softmax of the logits at the tokens, without a copy of all of them."""
    if logits_BPV.requires_grad or logits_BPV.numel() <= AT_ONCE:
        return _log_softmax_at(logits_BPV, tokens_BP)
    rows = max(AT_ONCE // (logits_BPV.shape[1] * logits_BPV.shape[2]), 1)
    parts = zip(torch.split(logits_BPV, rows), torch.split(tokens_BP, rows), strict=True)
    return torch.cat([_log_softmax_at(*part) for part in parts])


def _log_softmax_at(logits_BPV: Tensor, tokens_BP: Tensor) -> Tensor:
    logits_BPV = logits_BPV.float()
    chosen_BP = logits_BPV.gather(2, tokens_BP[:, :, None])[:, :, 0]
    return chosen_BP - logits_BPV.logsumexp(dim=2)
