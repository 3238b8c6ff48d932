"""A kind's settings as one flat model composed of parts: what each stage reads, and no more.

A stage's artifact depends on its own part's fields; the others may change, and it stands.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from recalltrap.identity import Config


class Part(BaseModel):
    """Base of all parts: immutable, and strict about unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def part_config(settings: Part, part: type[Part]) -> dict[str, Any]:
    """The JSON values of the fields that `part` declares, to be changed as the caller likes."""
    return dict(shared_config(settings, part))


@lru_cache(maxsize=4096)
def shared_config(settings: BaseModel, part: type[BaseModel]) -> Config:
    """The JSON values of the fields that `part` declares: a stage's part of its identity."""
    return Config(settings.model_dump(mode="json", include=set(part.model_fields)))
