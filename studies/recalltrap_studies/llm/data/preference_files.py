"""A file of preferences as it is written: TRL's columns, each row checked and named in errors.

What a row is in a model's tokens, and whether it can be learned from, is `preferences`' business.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recalltrap_studies.llm.data.row_files import RowFile, shown
from recalltrap_studies.llm.data.written_chats import Messages, Question, messages_of

COLUMNS = ("prompt", "chosen", "rejected")
FIELD = "settings.preferences"
_WAY_OUT = (
    "Give a JSONL file (an object in every line) or a Parquet file, with `prompt`, `chosen` and "
    "`rejected` in every row, texts or lists of {role, content}; without `prompt` it is what "
    "chosen and rejected begin with"
)
TIE = "chosen equals rejected"
NO_PROMPT = "chosen and rejected begin with no prompt"
EMPTY = "an answer is empty"
NO_ANSWER = "chosen or rejected isn't one message of the assistant's"


@dataclass(frozen=True)
class WrittenPair:
    """One row: what is asked, the better answer and the worse one."""

    question: Question
    chosen: str
    rejected: str
    fault: str | None = None
    """Why nothing can be learned from it, whatever the tokenizer."""

    @property
    def content(self) -> tuple[str, str, str]:
        """What makes two rows the same."""
        return self.question.content, self.chosen, self.rejected


class PreferenceFile(RowFile):
    """A file of preferences; `spec` as the user wrote it."""

    def __init__(self, spec: str) -> None:
        super().__init__(FIELD, spec, _WAY_OUT)


def read_preferences(spec: str) -> list[WrittenPair]:
    """The rows of a file, in its order, those among them that can't be learned from.

    Raises:
        InputError: the file is missing, empty, neither JSONL in UTF-8 nor Parquet, or a row has no
            chosen and rejected of one form; names the row, the column, the value and the way out.
    """
    file = PreferenceFile(spec)
    found = [_pair(file, number, row) for number, row in file.rows()]
    if not found:
        raise file.refused(None, "it holds no preference")
    return found


def _pair(file: RowFile, number: int, row: Mapping[str, Any]) -> WrittenPair:
    row = file.columns(number, row, COLUMNS)
    for name in ("chosen", "rejected"):
        if name not in row:
            raise file.refused(number, f"it has no `{name}`")
    chosen, rejected = row["chosen"], row["rejected"]
    if isinstance(chosen, list) and isinstance(rejected, list):
        return _of_chats(file, number, row.get("prompt"), chosen, rejected)
    for name in ("chosen", "rejected"):
        if not isinstance(row[name], str):
            raise file.refused(
                number, f"{name} = {shown(row[name])}: both answers are texts, or both are lists "
                "of messages",
            )  # fmt: skip
    return _of_texts(file, number, row.get("prompt"), chosen, rejected)


def _of_texts(file: RowFile, number: int, prompt: Any, chosen: str, rejected: str) -> WrittenPair:
    if isinstance(prompt, list):  # a chat that is answered in plain text
        question = Question(number, None, _asked(file, number, prompt))
        return WrittenPair(question, chosen, rejected, _fault(chosen, rejected))
    if prompt is not None:
        question = Question(number, file.text(number, "prompt", prompt), ())
        return WrittenPair(question, chosen, rejected, _fault(chosen, rejected))
    if chosen == rejected:
        return WrittenPair(Question(number, chosen, ()), chosen, rejected, TIE)
    shared = shared_words(chosen, rejected)
    question = Question(number, shared, ())
    if not shared:
        return WrittenPair(question, chosen, rejected, NO_PROMPT)
    chosen, rejected = chosen[len(shared) :], rejected[len(shared) :]
    return WrittenPair(question, chosen, rejected, _fault(chosen, rejected))


def _of_chats(
    file: RowFile, number: int, prompt: Any, chosen: list[Any], rejected: list[Any]
) -> WrittenPair:
    better = messages_of(file, number, chosen, "chosen")
    worse = messages_of(file, number, rejected, "rejected")
    if isinstance(prompt, list):
        asked = _asked(file, number, prompt)
    elif better == worse:
        return WrittenPair(Question(number, None, better), "", "", TIE)
    else:
        asked = _shared(better, worse)
        if prompt is not None and not any(m["content"] == prompt for m in asked):
            raise file.refused(
                number, f"prompt = {shown(prompt)} isn't in the messages that chosen and rejected "
                "begin with", "Leave `prompt` out, or write it as the list of those messages",
            )  # fmt: skip
        better, worse = better[len(asked) :], worse[len(asked) :]
    question = Question(number, None, asked)
    if not asked or asked[-1]["role"] != "user":
        return WrittenPair(question, "", "", NO_PROMPT)
    if [m["role"] for m in better] != ["assistant"] or [m["role"] for m in worse] != ["assistant"]:
        return WrittenPair(question, "", "", NO_ANSWER)
    texts = better[0]["content"], worse[0]["content"]
    return WrittenPair(question, *texts, _fault(*texts))


def _asked(file: RowFile, number: int, given: Any) -> Messages:
    messages = messages_of(file, number, given, "prompt")
    if messages[-1]["role"] != "user":
        raise file.refused(number, f"prompt ends with the {messages[-1]['role']}'s message",
                           "End it with the user's: chosen and rejected answer it")  # fmt: skip
    return messages


def _fault(chosen: str, rejected: str) -> str | None:
    if chosen == rejected:
        return TIE
    return None if chosen and rejected else EMPTY


def _shared(better: Messages, worse: Messages) -> Messages:
    """The messages that both begin with."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(better, worse, strict=False))
    return tuple(message for message, _ in pairs)


def shared_words(chosen: str, rejected: str) -> str:
    """What two texts begin with alike, without the blank before they part and never half a word.

    TRL cuts where the letters part: of "The cat" and "The car" it would ask "The ca".
    """
    pairs = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False)
    )
    end = len(list(pairs))
    goes_on = [text[end : end + 1].strip() for text in (chosen, rejected)]
    if any(goes_on):  # letters part, so the word that they are in is the answers'
        while end and not chosen[end - 1].isspace():
            end -= 1
    return chosen[:end].rstrip()
