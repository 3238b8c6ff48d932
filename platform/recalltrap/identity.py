"""Identity: the hash of everything that decides a result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from json.encoder import encode_basestring
from typing import Any, NoReturn

_PLAIN = frozenset({str, int, bool, type(None)})
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_CONSTANTS = {True: "true", False: "false", None: "null"}
ID_LENGTH = 20  # hex digits: 80 bits


class Config(dict[str, Any]):
    """A JSON object that never changes: many nodes share one, and it is spelled once."""

    @cached_property
    def spelled(self) -> str:
        """Its canonical JSON."""
        return _spell(dict(self), "config")

    def without(self, name: str | None) -> Config:
        """The same but for one entry."""
        if name not in self:
            return self
        if name not in self._shorter:
            self._shorter[name] = Config({k: v for k, v in self.items() if k != name})
        return self._shorter[name]

    @cached_property
    def families(self) -> dict[tuple[Any, ...], str]:
        """Families of the nodes that have this configuration, by what else decides them."""
        return {}

    @cached_property
    def _shorter(self) -> dict[str | None, Config]:
        return {}

    def __reduce__(self) -> tuple[type[Config], tuple[dict[str, Any]]]:
        return Config, (dict(self),)

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a stage's configuration never changes: make another from dict(config)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, no blanks, shortest float, UTF-8.

    1.0 and 1 are different values: a settings model has already given every field its type.

    Raises:
        TypeError: a value that has no stable form (anything but JSON's own types).
        ValueError: a float that isn't finite.
    """
    return _spell(value, "value").encode()


def _spell(value: Any, where: str) -> str:
    try:
        return _spell_plain(value)
    except TypeError:  # another type, which may have a stable form or not
        return _spell_any(value, where)


def _spell_plain(value: Any) -> str:
    """Of JSON's own types alone, which nearly all values are; anything else is a TypeError."""
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is Config:
        spelled: str = value.spelled
        return spelled
    if kind is int:
        return repr(value)
    if kind is dict:
        items = [f"{encode_basestring(k)}:{_spell_plain(value[k])}" for k in sorted(value)]
        return "{" + ",".join(items) + "}"
    if kind is list:
        return "[" + ",".join(map(_spell_plain, value)) + "]"
    if kind is float and math.isfinite(value):
        return repr(value)
    if kind is bool or value is None:
        return _CONSTANTS[value]
    raise TypeError


def _spell_any(value: Any, where: str) -> str:
    if isinstance(value, Config):
        return value.spelled
    if isinstance(value, dict) and any(isinstance(item, Config) for item in value.values()):
        _refuse_keys(value, where)
        items = (
            f"{encode_basestring(key)}:{_spell(value[key], f'{where}.{key}')}"
            for key in sorted(value)
        )
        return "{" + ",".join(items) + "}"
    if isinstance(value, list) and any(isinstance(item, Config) for item in value):
        return "[" + ",".join(_spell(item, f"{where}[{i}]") for i, item in enumerate(value)) + "]"
    _refuse_unstable(value, where)
    return _ENCODER.encode(value)


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
        _refuse_keys(value, where)
        for key, item in value.items():
            if not _is_plain(item):
                _refuse_unstable(item, f"{where}.{key}")
        return
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for index, item in enumerate(value):
            if not _is_plain(item):
                _refuse_unstable(item, f"{where}[{index}]")
        return
    raise TypeError(f"{where} is a {type(value).__name__}, which has no stable form to hash")


def _refuse_keys(value: Mapping[Any, Any], where: str) -> None:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{where} has the key {key!r}, which is not a string")
