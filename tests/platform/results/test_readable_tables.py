from __future__ import annotations

import math

import pyarrow as pa
import pytest

from recalltrap.results.readable_tables import readable, value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.123456, "0.123"), (1_234_567.8, "1234568"), (3.2e15, "3.2e+15"),
     (-1500.0, "-1500"), (math.nan, "nan"), (math.inf, "inf"), (12345, "12345"), (True, "True"),
     ([1.0, 2.5], "1, 2.5"), ({"a": 0.5}, "a: 0.5")],
)  # fmt: skip
def test_values(value: object, text: str) -> None:
    assert value_text(value) == text


def test_an_interval_is_one_column() -> None:
    shown = readable(
        pa.table({"n": [3], "x": [0.5], "x_low": [0.25], "x_high": [1.0], "y_low": [1]})
    )
    assert shown.names == ["n", "x", "y_low"]
    assert shown.rows == [["3", "0.5 [0.25, 1]", "1"]]
    assert shown.numeric == [True, False, True]


def test_text_is_aligned() -> None:
    rows = [{"name": "a", "cells": 5}, {"name": "longer", "cells": 12345}]
    assert str(readable(rows)).splitlines() == ["name    cells", "a           5", "longer  12345"]
    assert str(readable([])) == ""
