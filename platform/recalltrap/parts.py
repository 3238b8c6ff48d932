"""A kind's settings as one flat model composed of parts: what each stage reads, and no more.

A stage's artifact depends on its own part's fields; the others may change, and it stands.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from recalltrap.identity import Config


class Part(BaseModel):
    """Base of all parts: immutable, and strict about unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def added_setting(default: Any, **field: Any) -> Any:
    """A setting that came after artifacts existed, with what those were made with as its default.

    At its default it stands in no stage's configuration, so that their ids stay what they were:
    read it from the part, or as `config.get(name, default)`. Takes what `pydantic.Field` takes.
    """
    return Field(default, json_schema_extra=_added_later, **field)


def _added_later(schema: dict[str, Any]) -> None:
    """Marks a field and leaves its published schema as it is."""


def _is_implied(info: FieldInfo, value: Any) -> bool:
    return info.json_schema_extra is _added_later and value == info.default


def part_config(settings: Part, part: type[Part]) -> dict[str, Any]:
    """The JSON values of the fields that `part` declares, to be changed as the caller likes."""
    return dict(shared_config(settings, part))


@lru_cache(maxsize=4096)
def shared_config(settings: BaseModel, part: type[BaseModel]) -> Config:
    """The JSON values of the fields that `part` declares: a stage's part of its identity."""
    fields = part.model_fields
    implied = {n for n, info in fields.items() if _is_implied(info, getattr(settings, n))}
    return Config(settings.model_dump(mode="json", include=set(fields) - implied))


@lru_cache(maxsize=4096)
def all_settings(settings: BaseModel) -> Config:
    """The JSON values of every setting, by name."""
    return Config(settings.model_dump(mode="json"))
