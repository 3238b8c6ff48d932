"""A report without credentials: they stand in storage URIs, commands and error messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

HIDDEN = "[redacted]"
_USER = re.compile(r"(?<=://)(?:[^\s/@'\"]+|[^\s/@:'\"]+:[^\s@'\"]+)@")
_PARAMETER = re.compile(
    r"(?i)([?&][\w-]*(?:key|token|secret|passw(?:or)?d|signature|credential)[\w-]*=)[^&\s'\"]+"
)

Value = TypeVar("Value")


def redacted_text(text: str) -> str:
    """The text without user names, passwords and secret parameters in its URIs."""
    if "://" not in text:
        return text
    return _PARAMETER.sub(rf"\1{HIDDEN}", _USER.sub(f"{HIDDEN}@", text))


def redacted(value: Value) -> Value:
    """The same document, block or record with every text in it redacted."""
    found: Any = value
    if isinstance(value, str):
        found = redacted_text(value)
    elif isinstance(value, Mapping):
        found = {redacted(key): redacted(inside) for key, inside in value.items()}
    elif isinstance(value, list | tuple):
        found = type(value)(redacted(inside) for inside in value)
    elif isinstance(value, bytes) and b"@" in value and value.lstrip().startswith(b"<"):
        found = redacted_text(value.decode()).encode()
    elif is_dataclass(value) and not isinstance(value, type):
        inside = {one.name: redacted(getattr(value, one.name)) for one in fields(value)}
        found = replace(value, **inside)
    return cast(Value, found)
