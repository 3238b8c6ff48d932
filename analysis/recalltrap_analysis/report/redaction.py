"""A report without credentials: they stand in storage URIs, commands and error messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from recalltrap.redaction import redact

Value = TypeVar("Value")


def redacted(value: Value) -> Value:
    """The same document, block or record with every text in it redacted."""
    return cast(Value, _redacted(value, {}))


def _redacted(value: Any, known: dict[str, str]) -> Any:
    """`known` has the texts that were met before: a table repeats its columns in every row."""
    if isinstance(value, str):
        if value not in known:
            known[value] = redact(value)
        return known[value]
    if value is None or isinstance(value, float | int):  # most of a report's values
        return value
    if isinstance(value, Mapping):
        return {_redacted(key, known): _redacted(inside, known) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_redacted(inside, known) for inside in value])
    if isinstance(value, bytes):
        if b"@" in value and value.lstrip().startswith(b"<"):
            return redact(value.decode()).encode()
        return value
    if is_dataclass(value) and not isinstance(value, type):
        inside = {one.name: _redacted(getattr(value, one.name), known) for one in fields(value)}
        return replace(value, **inside)
    return value
