"""The preferences of a file as token ids: which can be learned from, what is said of the others.

Legend: P pairs, L prompts, T answer tokens at most; the chosen answer stands before the rejected.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recalltrap_studies.llm.contents import opened
from recalltrap_studies.llm.data.preference_files import (
    PreferenceFile,
    WrittenPair,
    read_preferences,
)
from recalltrap_studies.llm.data.row_files import least_tokens

if TYPE_CHECKING:  # a file is looked at before torch is imported, see `first_look`
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from recalltrap_studies.llm.data.answers import AnswerEncoder
    from recalltrap_studies.llm.data.responses import PromptRows

REFUSE, DROP = "refuse", "drop"
SHOWN_ROWS = 10


@dataclass(frozen=True)
class PreferencePairs:
    """What an alignment learns from: `prompt_P` says to which of the L prompts each pair is."""

    prompts: PromptRows
    prompt_P: Tensor
    tokens_P2T: Tensor
    mask_P2T: Tensor

    def examples(self, before: int) -> dict[str, Tensor]:
        """`tokens`, `mask` and `prompt` of both answers, [P, 2, ...]; among a policy's prompts
        theirs stand behind `before` others."""
        prompt_P2 = (self.prompt_P + before)[:, None].expand(-1, 2)
        return {"tokens": self.tokens_P2T, "mask": self.mask_P2T, "prompt": prompt_P2.contiguous()}


@dataclass(frozen=True)
class JudgedPair:
    """A row with its tokens, or with the reason why it can't be learned from."""

    pair: WrittenPair
    fault: str | None
    prompt: Sequence[int] = ()
    answers: Sequence[Sequence[int]] = ()
    prompt_tokens: int = 0
    """Without a tokenizer there are no fewer; likewise of the longer answer."""
    answer_tokens: int = 0

    @property
    def row(self) -> int:
        """Of the file."""
        return self.pair.question.row


def learned_from(
    config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, context: int
) -> PreferencePairs:
    """The pairs of an alignment's configuration, for models of that context.

    Raises:
        InputError: rows can't be learned from and aren't to be dropped, or none is left.
    """
    spec = opened(config["preferences"], "preferences")
    file, found = PreferenceFile(spec), read_preferences(spec)
    encoder, longest = _encoder(tokenizer, file), int(config["align_tokens"])
    judged = [within(judge(pair, encoder, longest), context, "the models") for pair in found]
    settle(file, judged, config.get("preferences_unusable", REFUSE))
    return as_tensors([pair for pair in judged if pair.fault is None])


def check_preferences(
    spec: str,
    tokenizer: PreTrainedTokenizerBase | None,
    align_tokens: int,
    contexts: Mapping[str, int],
    unusable: str,
) -> str:
    """Refuse a file that can't be learned from as far as can be seen, and say what is in it.

    Without a tokenizer words are counted: there are no fewer tokens. `contexts` are those of the
    models that are aligned, by the settings that name them.

    Raises:
        InputError: naming the setting, the file, the rows and the way out.
    """
    file, found = PreferenceFile(spec), read_preferences(spec)
    encoder = None if tokenizer is None else _encoder(tokenizer, file)
    judged = [judge(pair, encoder, align_tokens) for pair in found]
    least = min(contexts, key=lambda field: contexts[field], default=None)
    if least is not None:
        # Dropped from one ordering alone, the two would learn from different rows.
        most = max(contexts.values())
        name = f"settings.{least}"
        for pair in judged:
            if pair.fault is None and contexts[least] < _together(pair) <= most:
                raise file.refused(
                    pair.row, f"prompt and answer have {_together(pair)} tokens: too many for the "
                    f"context of {name}, which is {contexts[least]}, and not for another model "
                    "that learns from them", "Shorten the row or take it out",
                )  # fmt: skip
        judged = [within(pair, contexts[least], name) for pair in judged]
    settle(file, judged, unusable)
    return summary(file, judged)


def _encoder(tokenizer: PreTrainedTokenizerBase, file: PreferenceFile) -> AnswerEncoder:
    from recalltrap_studies.llm.data.answers import AnswerEncoder

    return AnswerEncoder(tokenizer, file)


def judge(pair: WrittenPair, encoder: AnswerEncoder | None, align_tokens: int) -> JudgedPair:
    """A row in tokens, as far as there is a tokenizer.

    Raises:
        InputError: the prompt can't be asked: the vocabulary can't spell it, or there is no chat
            template; names the row.
    """
    if pair.fault is not None:
        return JudgedPair(pair, pair.fault)
    texts = {"chosen": pair.chosen, "rejected": pair.rejected}
    if encoder is None:
        sizes = [least_tokens(text) + 1 for text in texts.values()]
        judged = JudgedPair(pair, None, (), (), least_tokens(pair.question.content), max(sizes))
    else:
        prompt, answers = encoder.prompt(pair.question), []
        for name, text in texts.items():
            ids = encoder.answer(pair.question, text, name)
            if isinstance(ids, str):
                return JudgedPair(pair, ids)
            answers.append(ids)
        longest = max(len(ids) for ids in answers)
        judged = JudgedPair(pair, None, prompt, answers, len(prompt), longest)
    if judged.answer_tokens > align_tokens:
        fault = f"an answer, EOS included, is longer than settings.align_tokens = {align_tokens}"
        return replace(judged, fault=fault)
    return judged


def within(judged: JudgedPair, context: int, model: str) -> JudgedPair:
    """The same, with its fault where prompt and answer are longer than a model's context."""
    if judged.fault is not None or _together(judged) <= context:
        return judged
    fault = f"prompt and answer are longer than the context of {model}, which is {context}"
    return replace(judged, fault=fault)


def settle(file: PreferenceFile, judged: Sequence[JudgedPair], unusable: str) -> None:
    """Refuse rows that can't be learned from, unless they are to be dropped and others are left.

    Raises:
        InputError: names their numbers by what is wrong with them.
    """
    faulty = [pair for pair in judged if pair.fault is not None]
    if not faulty:
        return
    what = f"{len(faulty)} of its {len(judged)} rows can't be learned from: {_by_fault(faulty)}"
    if len(faulty) == len(judged):
        raise file.refused(None, what, "Give rows that can")
    if unusable == REFUSE:
        way_out = "Mend them, or set preferences_unusable: drop, which leaves them out"
        raise file.refused(None, what, way_out)


def summary(file: PreferenceFile, judged: Sequence[JudgedPair]) -> str:
    """One line: how many pairs and prompts there are, what is dropped, what stands twice."""
    kept = [pair.pair for pair in judged if pair.fault is None]
    faulty = [pair for pair in judged if pair.fault is not None]
    counts = Counter(pair.content for pair in kept)
    prompts = len({pair.question.content for pair in kept})
    parts = [f"{_count(len(kept), 'pair')} to {_count(prompts, 'prompt')}"]
    if twice := sum(counts.values()) - len(counts):
        parts.append(f"{_count(twice, 'repetition')} of an earlier row, counted again")
    turned = [(prompt, worse, better) for prompt, better, worse in counts]
    if contradicted := sum(other in counts for other in turned) // 2:
        parts.append(f"{_count(contradicted, 'pair')} also the other way round")
    if faulty:
        parts.append(f"{_count(len(faulty), 'row')} dropped: {_by_fault(faulty)}")
    return f"{file.place(None)}: {'; '.join(parts)}"


def as_tensors(judged: Sequence[JudgedPair]) -> PreferencePairs:
    """The pairs, and each prompt once."""
    import torch

    from recalltrap_studies.llm.data.responses import PromptRows, padded

    places: dict[tuple[int, ...], int] = {}
    prompt_P = [places.setdefault(tuple(pair.prompt), len(places)) for pair in judged]
    flat = [np.array(ids, np.int64) for pair in judged for ids in pair.answers]
    tokens_NT, mask_NT = padded(flat)
    return PreferencePairs(
        PromptRows.of([list(prompt) for prompt in places]),
        torch.tensor(prompt_P, dtype=torch.int64),
        tokens_NT.view(len(judged), 2, -1),
        mask_NT.view(len(judged), 2, -1),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _together(judged: JudgedPair) -> int:
    return judged.prompt_tokens + judged.answer_tokens


def _by_fault(faulty: Sequence[JudgedPair]) -> str:
    """What is wrong, each with the rows that it is wrong with."""
    rows: dict[str, list[int]] = defaultdict(list)
    for pair in faulty:
        assert pair.fault is not None
        rows[pair.fault].append(pair.row)
    return "; ".join(f"{fault} ({_numbers(found)})" for fault, found in rows.items())


def _numbers(rows: Sequence[int]) -> str:
    first = ", ".join(str(row) for row in rows[:SHOWN_ROWS])
    if len(rows) == 1:
        return f"row {first}"
    more = len(rows) - SHOWN_ROWS
    return f"rows {first}" + (f" and {more} more" if more > 0 else "")
