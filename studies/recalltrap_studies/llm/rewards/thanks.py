"""The reward `thanks`: whether a response says thanks. Rare, and counted exactly."""

from __future__ import annotations

import re

_THANKS = re.compile(r"\bthank(s|ed|ful|fully|ing)?\b", re.IGNORECASE)


def thanks(prompts: list[str], responses: list[str]) -> list[float]:
    """1 for each response with a form of the word "thank", 0 for the others."""
    return [float(_THANKS.search(text) is not None) for text in responses]


thanks.supremum = 1.0  # type: ignore[attr-defined]
