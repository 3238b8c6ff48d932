"""Single values of YAML 1.2: what a plain scalar means, and how a value is spelled on a line.

The core schema (section 10.3.2) decides: `010` is ten, `0o10` eight, `1:30`, `yes` and dates are
text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

MAX_DIGITS = 400
"""Of a number: a float has at most 309 before its point, and int() takes quadratic time."""

NULLS = dict.fromkeys(("", "~", "null", "Null", "NULL"))
BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
WHOLE = (
    (re.compile(r"[-+]?[0-9]+"), 10),  # 010 is ten
    (re.compile(r"0o[0-7]+"), 8),
    (re.compile(r"0x[0-9a-fA-F]+"), 16),
)
REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
WORDS = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")
QUOTED_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""Words that a reader of YAML 1.1 or 1.2 would take for something else."""


def is_word(text: str) -> bool:
    """Whether a plain scalar is text."""
    number = any(pattern.fullmatch(text) for pattern, _ in WHOLE) or REAL.fullmatch(text)
    return not (text in NULLS or text in BOOLEANS or number or SPECIAL.fullmatch(text))


def read_scalar(text: str) -> Any:
    """What a plain scalar means.

    Raises:
        ValueError: a number too long to read, or beyond what a float can hold.
    """
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if text[0] not in "+-.0123456789":
        return text
    if SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    base = next((base for pattern, base in WHOLE if pattern.fullmatch(text)), None)
    if base is None and not REAL.fullmatch(text):
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text):,} characters, and at most {MAX_DIGITS} are read")
    return int(text.removeprefix("0o"), base) if base else _real(text)


def _real(text: str) -> float:
    value = float(text)
    lost = value == 0 and re.match(r"[-+]?[0.]*[1-9]", text)
    if lost or math.isinf(value):
        raise ValueError(f"{text} lies beyond what a float can hold")
    return value


def spell_value(value: Any) -> str:
    """A value on one line: JSON, which YAML contains, but for words that need no quotes."""
    if isinstance(value, str):
        plain = WORDS.fullmatch(value) and value.lower() not in QUOTED_WORDS
        return value if plain else _quoted(value)
    if isinstance(value, Mapping):
        inside = (f"{spell_value(name)}: {spell_value(item)}" for name, item in value.items())
        return "{" + ", ".join(inside) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(spell_value(item) for item in value) + "]"
    if isinstance(value, float):
        mantissa, _, exponent = repr(value).partition("e")
        # With a point, readers of YAML 1.1 take it for a number too.
        return f"{mantissa}{'' if '.' in mantissa else '.0'}e{exponent}" if exponent else mantissa
    return json.dumps(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
