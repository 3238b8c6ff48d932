"""What a row of a file asks: a text to go on from, or the messages of a chat, each checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recalltrap_studies.llm.data.row_files import RowFile, shown

ROLES = ("system", "user", "assistant")

Messages = tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Question:
    """A text that a response goes on from, or a chat that it answers."""

    row: int
    """Of the file; of a JSONL file its line; from 1."""
    text: str | None
    messages: Messages

    @property
    def content(self) -> str:
        """All that is asked, as one text."""
        return self.text if self.text is not None else json.dumps(self.messages)


def messages_of(file: RowFile, number: int, given: Any, column: str = "messages") -> Messages:
    """The messages of a row's column: role and content each.

    Raises:
        InputError: it is no list of messages; names the row, the message and the way out.
    """
    if not isinstance(given, list) or not given:
        raise file.refused(number, f"{column} = {shown(given)} is no list of messages")
    for place, message in enumerate(given):
        where = f"{column}[{place}]"
        keys = sorted(message) if isinstance(message, dict) else None
        if keys != ["content", "role"]:
            raise file.refused(
                number, f"{where} = {shown(message)} has not exactly a role and a content",
                'A message is {"role": "user", "content": "..."}',
            )  # fmt: skip
        role, content = message["role"], message["content"]
        if role not in ROLES:
            known = ", ".join(ROLES)
            raise file.refused(number, f"{where}.role = {shown(role)}", f"A role is one of {known}")
        file.text(number, f"{where}.content", content)
        if role == "system" and place:
            raise file.refused(number, f"{where} is the system's", "It comes first, if at all")
    return tuple({"role": m["role"], "content": m["content"]} for m in given)


def asked_messages(file: RowFile, number: int, given: Any, column: str = "messages") -> Messages:
    """The same of a chat that is to be answered.

    Raises:
        InputError: it doesn't end with the user's.
    """
    messages = messages_of(file, number, given, column)
    if messages[-1]["role"] != "user":
        raise file.refused(
            number, f"the last message is the {messages[-1]['role']}'s",
            "End with the user's: the models answer it",
        )  # fmt: skip
    return messages
