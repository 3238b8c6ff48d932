"""What a model must still be able to say, as token ids: what overall recall is the likelihood of.

An answer is scored after its prompt. A text is scored as a model would begin it: after the BOS that
the tokenizer begins texts with, or where there is none after its own first token, which nothing
precedes. Both end with the EOS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recalltrap_studies.llm.data.row_files import least_tokens
from recalltrap_studies.llm.data.truth_files import TruthFile, WrittenTruth, read_truth

if TYPE_CHECKING:  # a file is looked at before torch is imported, see `first_look`
    from transformers import PreTrainedTokenizerBase

    from recalltrap_studies.llm.data.answers import AnswerEncoder
    from recalltrap_studies.llm.data.responses import PromptRows

SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "prompt_ids": pa.list_(pa.int32()),
        "tokens": pa.list_(pa.int32()),
        "group": pa.string(),
    }
)


@dataclass(frozen=True)
class TruthRows:
    """M answers, each with its prompt, and its group where the file has groups."""

    answers: list[npt.NDArray[np.int64]]
    prompts: PromptRows
    groups: list[str | None]

    @classmethod
    def of(cls, table: pa.Table) -> TruthRows:
        """From the table that `encoded` made."""
        from recalltrap_studies.llm.data.responses import PromptRows

        return cls(
            [np.array(ids, np.int64) for ids in table["tokens"].to_pylist()],
            PromptRows.of(table["prompt_ids"].to_pylist()),
            table["group"].to_pylist(),
        )


def encoded(spec: str, tokenizer: PreTrainedTokenizerBase) -> pa.Table:
    """The file's rows in tokens: `row`, `prompt_ids`, `tokens`, `group` (null without groups).

    Raises:
        InputError: see `truth_files`; or the vocabulary can't spell a row.
    """
    encoder = _encoder(tokenizer, TruthFile(spec))
    rows = []
    for written in read_truth(spec):
        prompt, answer = _tokens(encoder, written)
        rows.append({"row": written.row, "prompt_ids": prompt, "tokens": answer,
                     "group": written.group})  # fmt: skip
    return pa.Table.from_pylist(rows, SCHEMA)


def check_truth(
    spec: str, tokenizer: PreTrainedTokenizerBase | None, contexts: Mapping[str, int]
) -> str:
    """Refuse a file that models can't be judged by as far as can be seen, and say what is in it.

    Without a tokenizer words are counted: there are no fewer tokens. `contexts` are those of the
    models that are judged, by the settings that name them.

    Raises:
        InputError: naming the setting, the file, the row and the way out.
    """
    file, found = TruthFile(spec), read_truth(spec)
    encoder = None if tokenizer is None else _encoder(tokenizer, file)
    field = min(contexts, key=lambda name: contexts[name], default=None)
    for written in found:
        if encoder is None:
            asked = 0 if written.question is None else least_tokens(written.question.content)
            size = asked + least_tokens(written.text) + 1
        else:
            prompt, answer = _tokens(encoder, written)
            size = len(prompt) + len(answer)
        if field is not None and size > contexts[field]:
            raise file.refused(
                written.row, f"it has {size} tokens{' or more' * (encoder is None)}, EOS included, "
                f"and the context of settings.{field} is {contexts[field]}",
                "Shorten or split it, or take it out",
            )  # fmt: skip
    groups = {written.group for written in found} - {None}
    parts = [f"{len(found)} rows", *([f"{len(groups)} groups"] if groups else [])]
    return f"{file.place(None)}: overall recall is of its {' in '.join(parts)}"


def _encoder(tokenizer: PreTrainedTokenizerBase, file: TruthFile) -> AnswerEncoder:
    from recalltrap_studies.llm.data.answers import AnswerEncoder

    return AnswerEncoder(tokenizer, file)


def _tokens(encoder: AnswerEncoder, written: WrittenTruth) -> tuple[Sequence[int], list[int]]:
    """Prompt and answer of a row.

    Raises:
        InputError: the vocabulary can't spell it, or nothing is left to predict.
    """
    if written.question is not None:
        prompt: Sequence[int] = encoder.prompt(written.question)
        answer = encoder.answer(written.question, written.text, "response")
    else:
        prompt, answer = encoder.alone(written.text, "text")
    if isinstance(answer, str):
        raise encoder.file.refused(written.row, answer, "Mend it or take it out")
    return prompt, answer
