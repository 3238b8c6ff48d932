"""A kind's settings as one flat model composed of parts: what each stage reads, and no more.

A stage's artifact depends on its own part's fields; the others may change, and it stands.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Base of all parts: immutable, and strict about unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def part_config(settings: Part, part: type[Part]) -> dict[str, Any]:
    """The JSON values of the fields that `part` declares: a stage's part of its identity."""
    return dict(_dumped(settings, part))  # what is cached stays as it is


@lru_cache(maxsize=4096)
def _dumped(settings: Part, part: type[Part]) -> dict[str, Any]:
    return settings.model_dump(mode="json", include=set(part.model_fields))
