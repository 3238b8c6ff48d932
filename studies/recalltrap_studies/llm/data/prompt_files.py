"""A file of prompts as it is written: JSONL or Parquet, each row checked and named in errors.

What the prompts are in a model's tokens is `prompts`' business. Nothing here knows a tokenizer.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recalltrap.errors import InputError, nearest
from recalltrap.paths import resolve
from recalltrap.streams import stream

COLUMNS = ("prompt", "messages", "id", "weight")
ROLES = ("system", "user", "assistant")
FIELD = "settings.prompts"
OPENINGS = "openings"
"""The name of our own file: 120 neutral openings and 80 questions, in English. It stands for itself
in identities, as a size of ours does: other prompts get another name."""
_OPENINGS_FILE = Path(__file__).with_name("openings.jsonl")
_PARQUET = b"PAR1"
_WAY_OUT = (
    "Give a JSONL file (an object in every line) or a Parquet file, with `prompt` (text) or "
    "`messages` (a list of {role, content}) in every row, and `id` and `weight` if you like; or "
    f"{OPENINGS!r}, 200 of ours"
)


@dataclass(frozen=True)
class WrittenPrompt:
    """One row of the file: a text, or the messages of a chat that is to be answered."""

    row: int
    """Of a JSONL file its line; from 1."""
    id: str
    text: str | None
    messages: tuple[Mapping[str, str], ...]
    weight: float

    @property
    def content(self) -> str:
        """All that is asked, as one text."""
        return self.text if self.text is not None else json.dumps(self.messages)


class PromptFile:
    """Where a row stands, for messages."""

    def __init__(self, spec: str) -> None:
        self.spec = spec

    def place(self, row: int | None) -> str:
        """The setting, the file and the row."""
        return f"{FIELD} = {self.spec!r}" + ("" if row is None else f", row {row}")

    def refused(self, row: int | None, reason: str, way_out: str = _WAY_OUT) -> InputError:
        """An error that names them."""
        return InputError(f"{self.place(row)}: {reason}. {way_out}")


def read_prompts(spec: str) -> list[WrittenPrompt]:
    """The prompts of a file, in its order.

    Raises:
        InputError: the file is missing, empty, neither JSONL in UTF-8 nor Parquet, or a row is
            none of a prompt; names the row, the column, the value and the way out.
    """
    file = PromptFile(spec)
    data = _read(file)
    rows = _parquet_rows(file, data) if data[:4] == _PARQUET else _json_rows(file, data)
    found = [_prompt(file, number, row) for number, row in rows]
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


def _read(file: PromptFile) -> bytes:
    path = _OPENINGS_FILE if file.spec == OPENINGS else Path(resolve(file.spec, FIELD))
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise file.refused(None, "no such file") from None
    except OSError as error:
        raise file.refused(None, f"can't be read ({error.strerror or error})") from None


def _json_rows(file: PromptFile, data: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            text = line.decode("utf-8").strip()
            row = json.loads(text) if text else None
        except UnicodeDecodeError as error:
            reason = f"not UTF-8 text (byte {error.start} of the line)"
            raise file.refused(number, reason, "Save the file as UTF-8") from None
        except json.JSONDecodeError as error:
            reason = f"no JSON ({error.msg}, column {error.colno})"
            raise file.refused(number, reason) from None
        except (ValueError, RecursionError) as error:  # a number of too many digits, too deep
            raise file.refused(number, f"no JSON ({error})") from None
        if not text:
            continue
        if not isinstance(row, dict):
            raise file.refused(number, f"{_shown(row)} is no JSON object")
        yield number, row


def _parquet_rows(file: PromptFile, data: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = f"no readable Parquet file ({str(error).splitlines()[0]})"
        raise file.refused(None, reason) from None
    yield from enumerate(rows, 1)


def _prompt(file: PromptFile, number: int, row: Mapping[str, Any]) -> WrittenPrompt:
    """One row, checked; a null is as good as nothing."""
    for name in row:
        if name not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise file.refused(
                number, f"unknown column {name!r}; {nearest(name, COLUMNS)}",
                f"A row has {known} and nothing else",
            )  # fmt: skip
    row = {name: value for name, value in row.items() if value is not None}
    if ("prompt" in row) == ("messages" in row):
        what = "both `prompt` and" if "prompt" in row else "neither `prompt` nor"
        raise file.refused(number, f"it has {what} `messages`", "Give one of them")
    text = row.get("prompt")
    if text is not None and not (isinstance(text, str) and text):
        raise file.refused(number, f"prompt = {_shown(text)} is no text", "Write it in quotes")
    messages = _messages(file, number, row["messages"]) if text is None else ()
    return WrittenPrompt(
        number, _id(file, number, row), text, messages, _weight(file, number, row.get("weight", 1))
    )


def _messages(file: PromptFile, number: int, given: Any) -> tuple[Mapping[str, str], ...]:
    if not isinstance(given, list) or not given:
        raise file.refused(number, f"messages = {_shown(given)} is no list of messages")
    for place, message in enumerate(given):
        where = f"messages[{place}]"
        keys = sorted(message) if isinstance(message, dict) else None
        if keys != ["content", "role"]:
            raise file.refused(
                number, f"{where} = {_shown(message)} has not exactly a role and a content",
                'A message is {"role": "user", "content": "..."}',
            )  # fmt: skip
        role, content = message["role"], message["content"]
        if role not in ROLES:
            known = ", ".join(ROLES)
            raise file.refused(
                number, f"{where}.role = {_shown(role)}", f"A role is one of {known}"
            )
        if not isinstance(content, str) or not content:
            raise file.refused(number, f"{where}.content = {_shown(content)} is no text",
                               "Write it in quotes")  # fmt: skip
        if role == "system" and place:
            raise file.refused(number, f"{where} is the system's", "It comes first, if at all")
    if given[-1]["role"] != "user":
        raise file.refused(
            number, f"the last message is the {given[-1]['role']}'s",
            "End with the user's: the models answer it",
        )  # fmt: skip
    return tuple({"role": m["role"], "content": m["content"]} for m in given)


def _id(file: PromptFile, number: int, row: Mapping[str, Any]) -> str:
    given = row.get("id", number)
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise file.refused(number, f"id = {_shown(given)} is neither a text nor a whole number",
                           "Give such an id, or none: then it is the row's number")  # fmt: skip
    return str(given)


def _weight(file: PromptFile, number: int, given: Any) -> float:
    plain = isinstance(given, int | float) and not isinstance(given, bool)
    if not plain or not math.isfinite(given) or given <= 0:
        raise file.refused(
            number, f"weight = {_shown(given)}", "A weight is a number above 0: how often the "
            "prompt is drawn, and how much it counts in means",
        )  # fmt: skip
    return float(given)


def _check_apart(file: PromptFile, found: list[WrittenPrompt]) -> None:
    """Refuse two rows of one id, and of one content: it could be learned from and held out."""
    ids: dict[str, int] = {}
    contents: dict[str, int] = {}
    for prompt in found:
        if prompt.id in ids:
            raise file.refused(
                prompt.row, f"id = {prompt.id!r} is row {ids[prompt.id]}'s too",
                "Every id stands once; a row without one has its number",
            )  # fmt: skip
        if prompt.content in contents:
            raise file.refused(
                prompt.row, f"the same prompt as row {contents[prompt.content]}: "
                f"{_shown(prompt.content)}",
                "It could be learned from and held out at once: keep one, with a larger weight",
            )  # fmt: skip
        ids[prompt.id], contents[prompt.content] = prompt.row, prompt.row


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def shares(found: Iterable[WrittenPrompt]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The prompts' weights, which sum to 1."""
    weight_K = np.array([prompt.weight for prompt in found])
    return np.asarray(weight_K / weight_K.sum(), np.float64)
