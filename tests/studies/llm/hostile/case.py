"""What a hostile file is: how it is made, which setting names it, what its refusal must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Make = Callable[[Path], object]


@dataclass(frozen=True)
class Hostile:
    """`make` writes it at a path whose last part is `file`; `says` is a pattern of the refusal."""

    name: str
    setting: str
    file: str
    make: Make
    says: str = ""
    spec: str = ""
    """What the setting says where that isn't the path."""


def holding(data: bytes | str) -> Make:
    """Writes these bytes, or this text as UTF-8 (with whatever it holds)."""
    content = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return lambda path: path.write_bytes(content)
