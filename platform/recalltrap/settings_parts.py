"""A kind's settings as one flat model composed of parts: what each stage reads, and no more.

A stage's artifact depends on its own part's fields; the others may change, and it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from recalltrap.identity import Config


class Part(BaseModel):
    """Base of all parts: immutable, and strict about unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def idle(cls, settings: Any) -> Mapping[str, str]:
        """The part's fields that decide nothing under these settings, each with the reason."""
        return {}


@dataclass(frozen=True)
class Reads:
    """Which settings decide a cell's artifacts and metrics, and why the others don't."""

    fields: frozenset[str]
    unread: Mapping[str, str]
    """field → a sentence, e.g. "dpo_online doesn't read clip_range"."""

    @classmethod
    def of(
        cls,
        settings: BaseModel,
        parts: Iterable[type[Part]],
        *,
        also: Iterable[str] = (),
        otherwise: Mapping[type[Part], str] | None = None,
    ) -> Self:
        """What the parts read that are in play under these settings.

        `also` names further fields that are read. `otherwise` says why a part's field isn't: the
        beginning of a sentence that ends in the field's name.
        """
        idle: dict[str, str] = {}
        read = set(also)
        for part in parts:
            reasons = part.idle(settings)
            idle.update(reasons)
            read.update(set(part.model_fields) - set(reasons))
        unread = {}
        for name in set(type(settings).model_fields) - read:
            why = (start for part, start in (otherwise or {}).items() if name in part.model_fields)
            unread[name] = idle.get(name) or f"{next(why, 'nothing reads')} {name}"
        return cls(frozenset(read), unread)


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


@lru_cache(maxsize=4096)
def deciding_settings(settings: BaseModel, names: frozenset[str] | None) -> Config:
    """The JSON values of the settings that decide a cell; of all, where nobody says which.

    A setting that was added later isn't among them at its default.
    """
    config = shared_config(settings, type(settings))
    if names is None:
        return config
    return Config({name: value for name, value in config.items() if name in names})
