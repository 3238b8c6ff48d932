"""The reward `sentiment`: how positive a response's words are, by VADER's lexicon.

Hutto and Gilbert 2014; the package `vaderSentiment`, in the extra `rewards`. It counts words and
doesn't mind gibberish: look at `overall_precision` beside it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def sentiment(prompts: list[str], responses: list[str]) -> list[float]:
    """VADER's compound score of each response, in [-1, 1]; its prompt isn't read."""
    scores = _analyzer()
    return [float(scores.polarity_scores(text)["compound"]) for text in responses]


sentiment.supremum = 1.0  # type: ignore[attr-defined]
sentiment.requires = ("vaderSentiment",)  # type: ignore[attr-defined]
