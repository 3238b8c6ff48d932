"""A report without credentials: they stand in storage URIs, commands and error messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from recalltrap.redaction import redact

Value = TypeVar("Value")


def redacted(value: Value) -> Value:
    """The same document, block or record with every text in it redacted."""
    if value is None or isinstance(value, float | int):  # most of a report's values
        return value
    safe: Any = value
    if isinstance(value, str):
        safe = redact(value)
    elif isinstance(value, Mapping):
        safe = {redacted(key): redacted(inside) for key, inside in value.items()}
    elif isinstance(value, list | tuple):
        safe = type(value)(redacted(inside) for inside in value)
    elif isinstance(value, bytes) and b"@" in value and value.lstrip().startswith(b"<"):
        safe = redact(value.decode()).encode()
    elif is_dataclass(value) and not isinstance(value, type):
        inside = {one.name: redacted(getattr(value, one.name)) for one in fields(value)}
        safe = replace(value, **inside)
    return cast(Value, safe)
