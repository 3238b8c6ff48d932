"""Values of Arrow and Python as plain ones: what JSON, CSV and a printed table can hold.

Dates and times beyond Python's (infinite ones, years past 9999 or before 1) become text that
DuckDB reads back.
"""

from __future__ import annotations

import math
from datetime import date, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_SECONDS = 86_400


def column_values(column: pa.ChunkedArray) -> list[Any]:
    """A column's values, those that Python has no form for as text."""
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind):  # intervals are temporal, too
        return [_scalar_value(scalar) for scalar in column]
    values: list[Any] = column.to_pylist()
    return values


def _scalar_value(scalar: Any) -> Any:
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_map(kind):
        pairs = [(pair["key"], pair["value"]) for pair in scalar.values]
        return {str(json_value(_scalar_value(k))): _scalar_value(v) for k, v in pairs}
    if isinstance(scalar, pa.ListScalar):  # lists of every kind
        return [_scalar_value(item) for item in scalar.values]
    if pa.types.is_struct(kind):
        names = [kind.field(place).name for place in range(kind.num_fields)]
        return {name: _scalar_value(scalar[place]) for place, name in enumerate(names)}
    if pa.types.is_union(kind):
        return _scalar_value(scalar.value)
    if pa.types.is_timestamp(kind):
        return _timestamp(scalar.value, kind)
    if pa.types.is_date32(kind):
        return _infinite(scalar.value, 32) or _date(scalar.value)
    if pa.types.is_time(kind):
        seconds, fraction = divmod(scalar.value, _PER_SECOND[kind.unit])
        return _clock(seconds, fraction, kind.unit)
    if pa.types.is_interval(kind):
        return _interval(*scalar.as_py())
    return scalar.as_py()


def _infinite(value: int, bits: int) -> str | None:
    """DuckDB's infinite dates are the largest integer and its negative."""
    largest = 2 ** (bits - 1) - 1
    return {largest: "infinity", -largest: "-infinity"}.get(value)


def _timestamp(value: int, kind: pa.TimestampType) -> str:
    if (infinite := _infinite(value, 64)) is not None:
        return infinite
    seconds, fraction = divmod(value, _PER_SECOND[kind.unit])
    days, rest = divmod(seconds, _DAY_SECONDS)
    zone = "+00:00" if kind.tz else ""
    return f"{_date(days)}T{_clock(rest, fraction, kind.unit)}{zone}"


def _date(days: int) -> str:
    """Days since 1970-01-01 in the Gregorian calendar, with year 0 before year 1 (ISO 8601)."""
    # Every 400 years are alike (146,097 days): a year that `date` knows stands for all of them.
    cycles, rest = divmod(days - date(2000, 1, 1).toordinal() + date(1970, 1, 1).toordinal(),
                          146_097)  # fmt: skip
    found = date.fromordinal(date(2000, 1, 1).toordinal() + rest)
    year = found.year + 400 * cycles
    sign = "-" if year < 0 else ""
    return f"{sign}{abs(year):04d}-{found:%m-%d}"


def _clock(seconds: int, fraction: int, unit: str) -> str:
    """Time of a day; 24:00:00 is one, too. The fraction in as many digits as the unit has."""
    digits = len(str(_PER_SECOND[unit])) - 1
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction:0{digits}d}" if fraction else text


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """As DuckDB takes it, e.g. `-1 months 2 days -03:00:00`."""
    seconds, fraction = divmod(abs(nanoseconds) // 1000, 10**6)
    clock = ("-" if nanoseconds < 0 else "") + _clock(seconds, fraction, "us")
    parts = [f"{months} months"] * bool(months) + [f"{days} days"] * bool(days)
    return " ".join([*parts, clock] if nanoseconds or not parts else parts)


def json_value(value: Any) -> Any:
    """The value as JSON has it. JSON has no NaN and no infinity: both are null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Decimal):  # DuckDB's sums of integers
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if isinstance(value, date | time) else str(value)
