"""Identity: the hash of everything that decides a result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = frozenset({str, int, bool, type(None)})
ID_LENGTH = 20  # hex digits: 80 bits


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, no blanks, shortest float, UTF-8.

    1.0 and 1 are different values: a settings model has already given every field its type.

    Raises:
        TypeError: a value that has no stable form (anything but JSON's own types).
        ValueError: a float that isn't finite.
    """
    _refuse_unstable(value, "value")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def fingerprint(value: Any) -> str:
    """The identity of a JSON value: the first 80 bits of SHA-256, in hex."""
    return digest(canonical_json(value))


def digest(spelled: bytes) -> str:
    """The identity of a value that `canonical_json` has spelled."""
    return hashlib.sha256(spelled).hexdigest()[:ID_LENGTH]


def _is_plain(value: Any) -> bool:
    """Most values, told apart fast."""
    return type(value) in _PLAIN or (type(value) is float and math.isfinite(value))


def _refuse_unstable(value: Any, where: str) -> None:
    if _is_plain(value) or isinstance(value, int | str):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which has no place in an identity")
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}, which is not a string")
            if not _is_plain(item):
                _refuse_unstable(item, f"{where}.{key}")
        return
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for index, item in enumerate(value):
            if not _is_plain(item):
                _refuse_unstable(item, f"{where}[{index}]")
        return
    raise TypeError(f"{where} is a {type(value).__name__}, which has no stable form to hash")
