"""A file of prompts as it is written: JSONL or Parquet, each row checked and named in errors.

What the prompts are in a model's tokens is `prompts`' business. Nothing here knows a tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recalltrap.streams import stream
from recalltrap_studies.llm.data.row_files import RowFile, shown
from recalltrap_studies.llm.data.written_chats import Question, asked_messages

COLUMNS = ("prompt", "messages", "id", "weight")
FIELD = "settings.prompts"
MOST_WEIGHT = 1e9
OPENINGS = "openings"
"""The name of our own file: 120 neutral openings and 80 questions, in English. It stands for itself
in identities, as a size of ours does: other prompts get another name."""
_OPENINGS_FILE = Path(__file__).with_name("openings.jsonl")
_WAY_OUT = (
    "Give a JSONL file (an object in every line) or a Parquet file, with `prompt` (text) or "
    "`messages` (a list of {role, content}) in every row, and `id` and `weight` if you like; or "
    f"{OPENINGS!r}, 200 of ours"
)


@dataclass(frozen=True)
class WrittenPrompt(Question):
    """One row of the file."""

    id: str
    weight: float


class PromptFile(RowFile):
    """A file of prompts; `spec` as the user wrote it."""

    def __init__(self, spec: str) -> None:
        super().__init__(FIELD, spec, _WAY_OUT)

    def location(self) -> Path:
        return _OPENINGS_FILE if self.spec == OPENINGS else super().location()


@dataclass(frozen=True)
class LongestPrompt:
    """How long the longest prompt is, and where it stands; `name` is how messages call it.

    Where words were counted it may have more tokens: it is not `exact`.
    """

    tokens: int
    name: str
    exact: bool


def read_prompts(spec: str) -> list[WrittenPrompt]:
    """The prompts of a file, in its order.

    Raises:
        InputError: the file is missing, empty, neither JSONL in UTF-8 nor Parquet, or a row is
            none of a prompt; names the row, the column, the value and the way out.
    """
    file = PromptFile(spec)
    found = [_prompt(file, number, row) for number, row in file.rows()]
    if not found:
        raise file.refused(None, "it holds no prompt")
    _check_apart(file, found)
    return found


def held_out(ids: Iterable[str], share: float) -> frozenset[str]:
    """The ids of the prompts that are kept from training: so large a share, one at least.

    Each id has a number of its own from a named stream, and the smallest are held out: the same for
    all seeds, so that seeds and prompts are crossed and each prompt's answers compare over seeds;
    whatever the order of the file; and with one prompt more nearly all stay where they were.
    """
    drawn = {name: stream(0, f"prompts/holdout/{name}").random() for name in ids}
    count = max(round(share * len(drawn)), 1)
    return frozenset(sorted(drawn, key=lambda name: (drawn[name], name))[:count])


def split(
    spec: str, found: list[WrittenPrompt], share: float
) -> tuple[list[WrittenPrompt], list[WrittenPrompt]]:
    """The prompts that are learned from, and those that models are judged by; with a share of 0 all
    of them are both.

    Raises:
        InputError: too few to hold that share out.
    """
    if share == 0:
        return found, found
    kept = held_out((prompt.id for prompt in found), share)
    learned = [prompt for prompt in found if prompt.id not in kept]
    if not learned:
        raise PromptFile(spec).refused(
            None,
            f"it holds {len(found)} prompt{'s' * (len(found) > 1)}, and settings.prompt_holdout = "
            f"{share} keeps {len(kept)} from training: none is left to learn from",
            "Give more prompts, or a smaller share; with 0 models are judged by the prompts that "
            "they learned from",
        )
    return learned, [prompt for prompt in found if prompt.id in kept]


def _prompt(file: RowFile, number: int, row: Mapping[str, Any]) -> WrittenPrompt:
    """One row, checked; a null is as good as nothing."""
    row = file.columns(number, row, COLUMNS)
    if ("prompt" in row) == ("messages" in row):
        what = "both `prompt` and" if "prompt" in row else "neither `prompt` nor"
        raise file.refused(number, f"it has {what} `messages`", "Give one of them")
    text = file.text(number, "prompt", row["prompt"]) if "prompt" in row else None
    messages = asked_messages(file, number, row["messages"]) if text is None else ()
    weight = _weight(file, number, row.get("weight", 1))
    return WrittenPrompt(number, text, messages, _id(file, number, row), weight)


def _id(file: RowFile, number: int, row: Mapping[str, Any]) -> str:
    given = row.get("id", number)
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise file.refused(number, f"id = {shown(given)} is neither a text nor a whole number",
                           "Give such an id, or none: then it is the row's number")  # fmt: skip
    return str(given)


def _weight(file: RowFile, number: int, given: Any) -> float:
    plain = isinstance(given, int | float) and not isinstance(given, bool)
    if not plain or not 0 < given <= MOST_WEIGHT:
        raise file.refused(
            number, f"weight = {shown(given)}", "A weight is a number above 0 (and up to "
            f"{MOST_WEIGHT:g}): how often the prompt is drawn, and how much it counts in means",
        )  # fmt: skip
    return float(given)


def _check_apart(file: RowFile, found: list[WrittenPrompt]) -> None:
    """Refuse two rows of one id, and of one content: it could be learned from and held out."""
    ids: dict[str, int] = {}
    contents: dict[str, int] = {}
    for prompt in found:
        if prompt.id in ids:
            raise file.refused(
                prompt.row, f"id = {shown(prompt.id)} is row {ids[prompt.id]}'s too",
                "Every id stands once; a row without one has its number",
            )  # fmt: skip
        if prompt.content in contents:
            raise file.refused(
                prompt.row, f"the same prompt as row {contents[prompt.content]}: "
                f"{shown(prompt.content)}",
                "It could be learned from and held out at once: keep one, with a larger weight",
            )  # fmt: skip
        ids[prompt.id], contents[prompt.content] = prompt.row, prompt.row


def shares(found: Iterable[WrittenPrompt]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The prompts' weights, which sum to 1."""
    weight_K = np.array([prompt.weight for prompt in found])
    return np.asarray(weight_K / weight_K.sum(), np.float64)
