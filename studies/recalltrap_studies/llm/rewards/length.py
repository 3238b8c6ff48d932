"""The reward `length`: how many words a response has. Nobody wants it; any model can learn it."""

from __future__ import annotations


def length(prompts: list[str], responses: list[str]) -> list[float]:
    """The number of words between spaces; without a supremum."""
    return [float(len(text.split())) for text in responses]
