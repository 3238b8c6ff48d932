"""Responses as texts, for rewards that read: without special tokens, each with its own prompt."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from recalltrap_studies.llm.data.responses import PromptRows


def texts_of(
    tokenizer: PreTrainedTokenizerBase, tokens_BT: Tensor, mask_BT: Tensor, prompts: PromptRows
) -> tuple[list[str], list[str]]:
    """(prompts, responses) of B rows; a prompt followed by its response is the whole text.

    A response is read as it goes on from its prompt: by itself some tokenizers drop its first
    space.
    """
    asked = prompts.expanded(len(tokens_BT)).lists()
    rows = zip(tokens_BT.cpu(), mask_BT.cpu().bool(), strict=True)
    answers = [tokens_T[mask_T].tolist() for tokens_T, mask_T in rows]
    before = {tuple(ids): "" for ids in asked}
    before = dict(zip(before, _decoded(tokenizer, [list(ids) for ids in before]), strict=True))
    whole = _decoded(tokenizer, [[*a, *b] for a, b in zip(asked, answers, strict=True)])
    texts = [before[tuple(ids)] for ids in asked]
    return texts, [_after(both, text) for both, text in zip(whole, texts, strict=True)]


def _after(whole: str, prompt: str) -> str:
    """What follows the prompt; a tokenizer that cleans up the border between them loses a sign."""
    return whole[len(prompt) :]


def _decoded(tokenizer: PreTrainedTokenizerBase, lists: list[list[int]]) -> list[str]:
    options: dict[str, Any] = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    return [str(text) for text in tokenizer.batch_decode(lists, **options)]
