"""The prompts that a stage asks, and which row of a sample gets which of them.

Legend: K prompts, N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from recalltrap.streams import stream
from recalltrap_studies.llm.contents import opened
from recalltrap_studies.llm.data.prompt_files import (
    PromptFile,
    read_prompts,
    shares,
    split,
)
from recalltrap_studies.llm.data.responses import PromptRows
from recalltrap_studies.llm.data.row_files import RowFile
from recalltrap_studies.llm.data.written_chats import Question
from recalltrap_studies.llm.models.tokenizers import encode_prompt
from recalltrap_studies.llm.stage_settings import HELD_OUT, PART


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
    """The prompts of a stage's configuration, in its model's tokens: the one, or of a file those
    that are learned from or those that are held out.

    Raises:
        InputError: the vocabulary can't spell one, or a chat has no template; see `prompt_files`.
    """
    if "prompts" not in config:
        return PromptSet.one(encode_prompt(tokenizer, config["prompt"]))
    spec = opened(config["prompts"], "prompts")
    learned, judged = split(spec, read_prompts(spec), float(config["prompt_holdout"]))
    chosen = judged if config.get(PART) == HELD_OUT else learned
    file = PromptFile(spec)
    tokens = [encode(tokenizer, prompt, file) for prompt in chosen]
    return PromptSet(tuple(p.id for p in chosen), PromptRows.of(tokens), shares(chosen))


def encode(tokenizer: PreTrainedTokenizerBase, question: Question, file: RowFile) -> list[int]:
    """The token ids of a prompt of a file.

    A chat goes through the tokenizer's own template up to where the answer begins. The template
    says how it begins, so nothing is added: a BOS that it writes stays the only one.

    Raises:
        InputError: there is no template or it refuses the chat, or the vocabulary can't spell it.
    """
    if question.text is not None:
        return encode_prompt(tokenizer, question.text, f"{file.place(question.row)}, prompt")
    text = chat_text(tokenizer, question, file)
    ids = [int(i) for i in tokenizer.encode(text, add_special_tokens=False)]
    unknown = tokenizer.unk_token_id
    if not ids or (unknown is not None and unknown in ids):
        raise file.refused(question.row, "the vocabulary can't spell its messages",
                           "Use signs that the tokenizer knows")  # fmt: skip
    return ids


def chat_text(tokenizer: PreTrainedTokenizerBase, question: Question, file: RowFile) -> str:
    """A chat as the tokenizer's template writes it, up to where the answer begins.

    Raises:
        InputError: there is no template, or it refuses the chat.
    """
    if not tokenizer.chat_template:
        raise file.refused(
            question.row, "it has messages, and the models' tokenizer has no chat template",
            "Write a `prompt` instead, or give models whose tokenizer has one",
        )  # fmt: skip
    try:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in question.messages],
            tokenize=False,
            add_generation_prompt=True,
        )
    except (TemplateError, ValueError, TypeError) as error:
        reason = f"the tokenizer's chat template refuses its messages ({error})"
        raise file.refused(question.row, reason, "Mend the messages") from None
    return str(text)
