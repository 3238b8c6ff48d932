"""What the records of algorithms, distillations and stages have in common.

A record says all that must be known of a thing without running it. What runs is named by a
`LateImport`, so that a registry is light and a plan imports no torch.
"""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from recalltrap.errors import InputError, nearest
from recalltrap.settings_parts import Part


class Record(Protocol):
    """An entry of a registry, which reads a part of a kind's settings."""

    @property
    def settings(self) -> type[Part] | None: ...

    def lacks(self) -> list[str]:
        """What is needed of it and isn't there, in words."""
        ...


R = TypeVar("R", bound=Record)


def find_record(records: Mapping[str, R], name: str, noun: str, registry: str) -> R:
    """The record of that name in `records`, which stand in `registry`.

    Raises:
        InputError: there is none, or not all of it; says what is missing.
    """
    if name not in records:
        raise InputError(f"no {noun} {name!r}: {nearest(name, records)}")
    missing = records[name].lacks()
    if missing:
        raise InputError(
            f"{noun} {name!r} is not wholly registered: {', '.join(missing)}; complete its record "
            f"in {registry}"
        )
    return records[name]


def record_parts(records: Mapping[str, R]) -> tuple[type[Part], ...]:
    """The settings of all records, each once, without those that another's inherit."""
    parts = {record.settings: None for record in records.values() if record.settings}
    return tuple(p for p in parts if not any(p is not q and issubclass(q, p) for q in parts))


@dataclass(frozen=True)
class LateImport:
    """`module:name`, as an entry point writes it."""

    path: str

    def load(self) -> Any:
        """The object itself; imports its module."""
        return pkgutil.resolve_name(self.path)

    def lacks(self) -> str | None:
        """What isn't there, in words, from the module's text; None where all is."""
        module, _, name = self.path.partition(":")
        if module not in (names := _defined(module)):
            return f"no module {module}"
        return None if name in names else f"no {name} in {module}"


@lru_cache(maxsize=256)
def _defined(module: str) -> frozenset[str]:
    """A module's name and those of its classes and functions; nothing where there is no module."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # no such folder
        spec = None
    if spec is None or spec.origin is None:
        return frozenset()
    body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    made = (node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return frozenset({module, *made})
