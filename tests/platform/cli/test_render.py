from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from recalltrap.cli.render import FORMATS, print_table

ROWS = [
    {"name": "a, b", "value": 1.5, "when": datetime(2025, 1, 2, tzinfo=UTC), "list": [1.0, 2.0]},
    {"name": 'say "x"', "value": math.nan, "when": None, "list": None},
]


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(ROWS, "json")
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a, b", "value": 1.5, "when": "2025-01-02T00:00:00+00:00", "list": [1.0, 2.0]},
        {"name": 'say "x"', "value": None, "when": None, "list": None},
    ]


def test_csv_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(ROWS, "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["name"] for row in rows] == ["a, b", 'say "x"']
    assert [row["value"] for row in rows] == ["1.5", "nan"]


def test_the_table_shows_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"ordering": "K-A", "markup": "[bold]x[/]", "value": 0.123456, "n": 12345}])
    shown = capsys.readouterr().out
    for part in ("ordering", "K-A", "[bold]x[/]", "0.123", "12345"):
        assert part in shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("12"), 12),
        (Decimal("1.5"), 1.5),
        (date(2025, 1, 2), "2025-01-02"),
        (time(1, 2), "01:02:00"),
        (timedelta(seconds=3), "0:00:03"),
        (b"x", "b'x'"),
        ([math.inf, 1.0], [None, 1.0]),
        ({"a": math.nan, "b": Decimal(3)}, {"a": None, "b": 3}),
        (True, True),
        (None, None),
    ],
    ids=repr,
)
def test_whatever_a_query_returns_is_json(
    value: object, expected: object, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table([{"x": value}], "json")
    assert json.loads(capsys.readouterr().out) == [{"x": expected}]


@pytest.mark.parametrize("form", FORMATS)
def test_no_rows(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(pa.table({"a": pa.array([], pa.int64())}), form)
    shown = capsys.readouterr().out
    if form == "json":
        assert json.loads(shown) == []
    else:
        assert shown.split() == ["a"]
    print_table([], form)
