"""Values from Python code as the plain ones that a study file holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from recalltrap.errors import shown
from recalltrap.study.yaml_text import MAX_DEPTH

MAX_LENGTH = 1_000_000
"""Of a list: far more than any study holds, far less than memory."""

PLAIN = frozenset({str, int, float, bool, type(None)})


def plain_value(value: Any, depth: int = 0) -> Any:
    """Numbers, text, truth values, None, lists and mappings, from what holds such values.

    Takes numpy's scalars and arrays, pandas Series, ranges, tuples and paths. What else it meets
    it leaves: a study refuses it at its place.

    Raises:
        ValueError: more than `MAX_LENGTH` values, lists more than `MAX_DEPTH` deep, or a mapping's
            name that isn't text.
    """
    if type(value) in PLAIN:
        return value
    size = getattr(value, "size", None)
    if isinstance(value, range | list | tuple):
        size = len(value)
    if isinstance(size, int) and size > MAX_LENGTH:
        raise ValueError(f"{size:,} values: at most {MAX_LENGTH:,} are read")
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep, which is the limit")
    if hasattr(value, "tolist"):
        return plain_value(value.tolist(), depth + 1)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {_name(name): plain_value(item, depth + 1) for name, item in value.items()}
    if isinstance(value, range | list | tuple):
        return [plain_value(item, depth + 1) for item in value]
    return value


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError(f"the name {shown(name)} is a {type(name).__name__}: give text")
    return str(name)
