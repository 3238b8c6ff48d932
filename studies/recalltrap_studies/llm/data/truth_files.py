"""A file of what a model must still be able to say, as it is written: texts, or answers to prompts.

Each row is checked and named in errors. What the rows are in a model's tokens is `truth`'s
business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recalltrap_studies.llm.data.row_files import CONTROLS, PARQUET, RowFile, shown
from recalltrap_studies.llm.data.written_chats import Question, asked_messages

COLUMNS = ("text", "prompt", "messages", "response", "group")
FIELD = "settings.truth"
MOST_GROUPS = 100
"""Each is a metric of every model."""
_JSON_NAMES = (".json", ".jsonl", ".ndjson")
_WAY_OUT = (
    "Give a JSONL file (an object in every line) or a Parquet file, with `text`, or `prompt` or "
    "`messages` and a `response` in every row, and `group` if you like; or a UTF-8 text file with "
    "a text in every line, or in every paragraph where empty lines part them"
)


@dataclass(frozen=True)
class WrittenTruth:
    """One row: a text with nothing before it, or the response to what is asked."""

    row: int
    question: Question | None
    text: str
    group: str | None


class TruthFile(RowFile):
    """A file of truth; `spec` as the user wrote it."""

    def __init__(self, spec: str) -> None:
        super().__init__(FIELD, spec, _WAY_OUT)


def read_truth(spec: str) -> list[WrittenTruth]:
    """The rows of a file, in its order; of a text file a row is the line where a text begins.

    Raises:
        InputError: the file is missing, empty or in another encoding, or a row is none of a text or
            an answer; names the row, the column, the value and the way out.
    """
    file = TruthFile(spec)
    data = file.read()
    if data[:4] == PARQUET or _is_json(spec, data):
        found = [_truth(file, number, row) for number, row in file.rows_of(data)]
    else:
        found = [WrittenTruth(line, None, text, None) for line, text in _texts(file, data)]
    if not found:
        raise file.refused(None, "it holds no text")
    grouped = [row.group is not None for row in found]
    if any(grouped) and not all(grouped):
        lacks = found[grouped.index(False)]
        raise file.refused(lacks.row, "it has no group, and other rows have one",
                           "Give every row a group, or none")  # fmt: skip
    groups = {row.group for row in found}
    if len(groups) > MOST_GROUPS:
        raise file.refused(
            None, f"it has {len(groups)} groups, and each is a metric of every model",
            f"Give {MOST_GROUPS} groups or fewer",
        )  # fmt: skip
    return found


def _is_json(spec: str, data: bytes) -> bool:
    begins = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return spec.lower().endswith(_JSON_NAMES) or begins == b"{"


def _texts(file: RowFile, data: bytes) -> Iterator[tuple[int, str]]:
    """The lines of a text, or its paragraphs where empty lines part them, with their first line."""
    lines: list[str] = []
    for number, raw in file.lines(data):
        try:
            text = raw.decode("utf-8").rstrip()
        except UnicodeDecodeError as error:
            reason = f"line {number} is not UTF-8 text (byte {error.start} of the line)"
            raise file.refused(None, reason, "Save the file as UTF-8") from None
        if found := CONTROLS.search(text):
            reason = f"line {number} holds the control character {found[0]!r}: no UTF-8 text"
            raise file.refused(None, reason, "Save the file as UTF-8")
        lines.append(text)
    whole = "\n".join(lines).strip()
    if not re.search(r"\n\s*\n", whole):
        yield from ((n, line.strip()) for n, line in enumerate(lines, 1) if line.strip())
        return
    begun, paragraph = 0, list[str]()
    for number, line in enumerate([*lines, ""], 1):
        if line.strip():
            begun = begun if paragraph else number
            paragraph.append(line)
        elif paragraph:
            yield begun, "\n".join(paragraph).strip()
            paragraph = []


def _truth(file: RowFile, number: int, row: Mapping[str, Any]) -> WrittenTruth:
    row = file.columns(number, row, COLUMNS)
    group = _group(file, number, row.get("group"))
    asked = [name for name in ("prompt", "messages") if name in row]
    if "text" in row:
        if asked or "response" in row:
            other = (asked or ["response"])[0]
            raise file.refused(number, f"it has both `text` and `{other}`", "Give one of them")
        return WrittenTruth(number, None, file.text(number, "text", row["text"]), group)
    if len(asked) != 1 or "response" not in row:
        has = f"`{'` and `'.join(row)}`" if row else "nothing"
        raise file.refused(number, f"it has {has}", "Give a `text`, or one of `prompt` and "
                           "`messages` with a `response`")  # fmt: skip
    response = file.text(number, "response", row["response"])
    if asked == ["prompt"]:
        question = Question(number, file.text(number, "prompt", row["prompt"]), ())
    else:
        question = Question(number, None, asked_messages(file, number, row["messages"]))
    return WrittenTruth(number, question, response, group)


def _group(file: RowFile, number: int, given: Any) -> str | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise file.refused(number, f"group = {shown(given)} is neither a text nor a whole number",
                           "Give every row such a group, or none")  # fmt: skip
    return str(given)
