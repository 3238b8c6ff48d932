"""Log-probabilities of responses after a prompt: in one pass with gradients, in parts without.

The counterpart of `sampling_engines`: what was drawn there at temperature 1 has the same
log-probabilities here. Legend: B rows, T response tokens, P tokens of a piece, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from recalltrap_studies.llm.inference.batch_sizes import SCORING


def response_log_probs(
    model: Any, tokens_BT: Tensor, prompt_ids: Sequence[int], *, hidden: bool = False
) -> tuple[Tensor, Tensor | None]:
    """log p(y_t | prompt, y_<t) [B, T], float32, nats, of one pass that gradients go through.

    Rows are padded on the right: causal attention needs no mask for what comes later. Where
    `hidden`, also the last hidden state that each token was predicted from, [B, T, H].
    """
    inputs_BL = torch.cat([_prompts(tokens_BT, prompt_ids), tokens_BT[:, :-1]], dim=1)
    output = _forward(model, inputs_BL, tokens_BT.shape[1], output_hidden_states=hidden)
    log_probs_BT = _chosen(output.logits, tokens_BT)
    if not hidden:
        return log_probs_BT, None
    return log_probs_BT, output.hidden_states[-1][:, -tokens_BT.shape[1] :]


@torch.no_grad()
def score_responses(
    model: Any, tokens_BT: Tensor, mask_BT: Tensor, prompt_ids: Sequence[int]
) -> Tensor:
    """The same without gradients, 0 where the mask is; in parts that memory holds.

    Computed in eval mode on the model's device, and returned on the tokens' one.
    """
    budget = SCORING.get(model.device.type, SCORING["cpu"])
    vocabulary, longest = int(model.config.vocab_size), tokens_BT.shape[1]
    rows = budget.rows_in_pieces((len(prompt_ids) + longest) * vocabulary)

    def forward(part_BT: Tensor) -> tuple[Tensor]:
        piece = max(budget.most // (len(part_BT) * vocabulary), 1)
        part_BT = part_BT.to(model.device)
        if piece >= longest:
            return (response_log_probs(model, part_BT, prompt_ids)[0],)
        return (_in_pieces(model, part_BT, prompt_ids, piece),)

    training = model.training
    model.eval()
    try:
        (log_probs_BT,) = in_parts(forward, tokens_BT, rows)
    finally:
        model.train(training)
    return torch.where(mask_BT.bool(), log_probs_BT.to(tokens_BT.device), 0.0)


@torch.no_grad()
def in_parts(
    forward: Callable[[Tensor], tuple[Tensor, ...]], tokens_BT: Tensor, rows: int
) -> tuple[Tensor, ...]:
    """`forward(tokens_BT)` without gradients, at most so many rows at once."""
    parts = [forward(part_BT) for part_BT in torch.split(tokens_BT, rows)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _in_pieces(model: Any, tokens_BT: Tensor, prompt_ids: Sequence[int], piece: int) -> Tensor:
    """So many tokens of the rows after the other, where all their logits would be too many."""
    cache = DynamicCache(config=model.config)
    before_BL = _prompts(tokens_BT, prompt_ids)
    pieces = []
    for tokens_BP in torch.split(tokens_BT, piece, dim=1):
        inputs_BL = torch.cat([before_BL, tokens_BP[:, :-1]], dim=1)
        output = _forward(model, inputs_BL, tokens_BP.shape[1], past_key_values=cache)
        pieces.append(_chosen(output.logits, tokens_BP))
        before_BL = tokens_BP[:, -1:]
    return torch.cat(pieces, dim=1)


def _prompts(tokens_BT: Tensor, prompt_ids: Sequence[int]) -> Tensor:
    return torch.tensor([list(prompt_ids)], device=tokens_BT.device).expand(len(tokens_BT), -1)


def _forward(model: Any, inputs_BL: Tensor, kept: int, **options: Any) -> Any:
    cached = "past_key_values" in options
    return model(input_ids=inputs_BL, use_cache=cached, logits_to_keep=kept, **options)


def _chosen(logits_BPV: Tensor, tokens_BP: Tensor) -> Tensor:
    """log softmax of the logits at the tokens, without a copy of all of them."""
    logits_BPV = logits_BPV.float()
    chosen_BP = logits_BPV.gather(2, tokens_BP[:, :, None])[:, :, 0]
    return chosen_BP - logits_BPV.logsumexp(dim=2)
