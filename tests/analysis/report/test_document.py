"""Tables as blocks of a document."""

from __future__ import annotations

import csv
import io

import pandas as pd

from recalltrap_analysis.report.document.tables import csv_text, grid


def test_rows_beyond_the_first_fold_away() -> None:
    frame = pd.DataFrame({"x": range(30), "name": ["a"] * 30})
    table = grid("some", frame, order=list(range(29, -1, -1)))
    assert [row[0] for row in table.shown] == [str(i) for i in range(6, 30)]
    assert len(table.rows) == 30
    assert table.words == [False, True]


def test_csv_has_the_exact_numbers_and_not_the_rounded_text() -> None:
    estimate = {"value": 1 / 3, "low": None, "high": 0.5, "method": "Student's t"}
    data = [{"where": 'a, "b"', "effect": estimate, "runs": ["one", "two"]}]
    table = grid("some", pd.DataFrame({"where": ["a"], "effect": ["0.33"]}), data=data)
    [row] = csv.DictReader(io.StringIO(csv_text(table)))
    assert row == {
        "where": 'a, "b"', "effect.value": repr(1 / 3), "effect.low": "", "effect.high": "0.5",
        "effect.method": "Student's t", "runs": '["one", "two"]',
    }  # fmt: skip


def test_csv_of_a_table_without_data_is_its_text() -> None:
    table = grid("some", pd.DataFrame({"x": ["0.33"]}))
    assert csv_text(table).splitlines() == ["x", "0.33"]
