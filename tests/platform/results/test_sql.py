"""Questions in SQL, and what may come back, in every format."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any, NoReturn

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalltrap.cli.render import FORMATS, print_table
from recalltrap.errors import InputError
from recalltrap.results.sql import Limits, answer, distinct_names


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    connected = duckdb.connect(":memory:")
    connected.execute("set timezone = 'UTC'")
    connected.execute("create view t as select 1 as a, 'x' as b")
    return connected


def _no_such_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def printed(table: pa.Table, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The first row in every format: as JSON values, as texts of a CSV file, as printed."""
    shown = {}
    for form in FORMATS:
        print_table(table, form)
        shown[form] = capsys.readouterr().out
    (row,) = json.loads(shown["json"], parse_constant=_no_such_json)
    (fields,) = csv.DictReader(io.StringIO(shown["csv"]))
    return {"json": row, "csv": fields, "table": shown["table"]}


@pytest.mark.parametrize(
    "query",
    [
        "explain select * from t",
        "EXPLAIN ANALYZE select * from t",
        "/* why */ explain -- and how\n analyze (select 1)",
        "explain (format json) select * from t",
        "explain (analyze, format json) from t",
        "explain (select 1)",
        "explain pivot t on a using count(*)",
        "explain with x as (select 1) select * from x",
    ],
)
def test_explain_tells_how_a_query_is_done(
    query: str, connection: duckdb.DuckDBPyConnection
) -> None:
    assert answer(connection, query).column_names == ["explain_key", "explain_value"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "create table u as select 1",
        "create table u as pivot t on a",
        "copy (select 1) to '{0}'",
        "copy (pivot t on a) to '{0}'",
        "drop view t",
        "select 1; drop view t",
        "set threads = 1",
        "pragma version",
    ],
)
@pytest.mark.parametrize(
    "explain",
    ["", "explain ", "explain analyze ", "explain (analyze) ", "explain /* select 1 */ ",
     "explain -- select 1\n", "explain (analyze, format json)\n"],
)  # fmt: skip
def test_what_does_more_than_read_is_refused_however_it_is_explained(
    explain: str, query: str, connection: duckdb.DuckDBPyConnection, tmp_path: Any
) -> None:
    target = tmp_path / "written"
    with pytest.raises((InputError, duckdb.ParserException)):
        answer(connection, explain + query.format(target))
    assert not target.exists()
    assert connection.sql("show tables").fetchall() == [("t",)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select 1 as value, 2 as value", {"value": 1, "value_1": 2}),
        ("select 1 as a, 2 as a_1, 3 as a, 4 as a", {"a": 1, "a_1": 2, "a_2": 3, "a_3": 4}),
        ("select * from t x, t y", {"a": 1, "b": "x", "a_1": 1, "b_1": "x"}),
        ("select count(*), count(*) from t", {"count_star()": 1, "count_star()_1": 1}),
        ("select 1 as a, 2 as A", {"a": 1, "A": 2}),
    ],
)
def test_columns_of_one_name_are_numbered(
    query: str, expected: dict[str, Any], connection: duckdb.DuckDBPyConnection,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    table = answer(connection, query)
    assert table.to_pylist() == [expected]
    shown = printed(table, capsys)
    assert shown["json"] == expected
    assert shown["csv"] == {name: str(value) for name, value in expected.items()}
    assert shown["table"].split() == [*expected, *map(str, expected.values())]


@given(st.lists(st.sampled_from(["a", "a_1", "a_2", "a_1_1", "b"]), max_size=8))
def test_numbered_names_differ_and_the_first_of_each_is_kept(names: list[str]) -> None:
    found = distinct_names(names)
    assert len(set(found)) == len(names)
    assert all(found[names.index(name)] == name for name in names)


def test_a_table_with_two_columns_of_one_name_prints_both(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert printed(table, capsys)["json"] == {"a": 1, "a_1": 2}


@pytest.mark.parametrize(
    ("value", "as_json", "as_csv"),
    [
        ("'nan'::double", None, "nan"),
        ("'inf'::float", None, "inf"),
        ("'-inf'::double", None, "-inf"),
        ("[1.5, 'nan'::double]", [1.5, None], "[1.5, null]"),
        ("null", None, ""),
        ("170141183460469231731687303715884105727::hugeint", 2**127 - 1, str(2**127 - 1)),
        ("340282366920938463463374607431768211455::uhugeint", str(2**128 - 1), str(2**128 - 1)),
        ("1.123456789012345678901::decimal(38, 21)", 1.1234567890123457,
         "1.123456789012345678901"),
        ("'0101'::bit", "0101", "0101"),
        ("'\\xAA'::blob", "b'\\xaa'", "b'\\xaa'"),
        ("'a'::enum('a', 'b')", "a", "a"),
        ("'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
         "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("{'x': 1, 'y': ['inf'::double]}", {"x": 1, "y": [None]}, '{"x": 1, "y": [null]}'),
        ("map {'k': 1}", {"k": 1}, '{"k": 1}'),
        ("union_value(k := 1)", 1, "1"),
        ("timetz '12:00:00+02'", "12:00:00+02", "12:00:00+02"),
        ("[timetz '12:00:00+02']", "['12:00:00+02']", "['12:00:00+02']"),
        ("{'x': date 'infinity'}", {"x": "infinity"}, '{"x": "infinity"}'),
    ],
)  # fmt: skip
def test_values_in_every_format(
    value: str, as_json: object, as_csv: str, connection: duckdb.DuckDBPyConnection,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shown = printed(answer(connection, f"select {value} as v"), capsys)
    assert shown["json"] == {"v": as_json}
    assert shown["csv"] == {"v": as_csv}
    assert shown["table"].split()[0] == "v"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("timestamp", "2025-01-02T03:04:05.000600"),
        ("timestamp", "infinity"),
        ("timestamptz", "-infinity"),
        ("timestamp_s", "infinity"),
        ("timestamp_ns", "2025-01-02T03:04:05.000000007"),
        ("timestamptz", "12000-02-29T00:00:00+00:00"),
        ("timestamp", "294247-01-10T04:00:54.775806"),
        ("timestamp", "-0043-03-15T12:00:00"),
        ("timestamp", "1969-12-31T23:59:59.999999"),
        ("date", "2025-01-02"),
        ("date", "0001-01-01"),
        ("date", "0000-02-29"),
        ("date", "-5877640-01-31"),
        ("date", "5881580-07-10"),
        ("date", "-infinity"),
        ("time", "24:00:00"),
        ("time", "12:00:00.500000"),
        ("interval", "-13 months 2 days -03:00:00"),
        ("interval", "-00:00:00.500000"),
        ("interval", "00:00:00"),
    ],
)
def test_odd_dates_and_times_read_back(
    kind: str, text: str, connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every one is text that DuckDB takes for the same value again."""
    shown = printed(
        answer(connection, f"select '{text}'::{kind} as v, ['{text}'::{kind}] w"), capsys
    )
    assert shown["json"] == {"v": text, "w": [text]}
    assert shown["csv"]["v"] == text
    assert text in shown["table"]


def test_a_number_in_a_csv_is_the_number(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    query = "select 0.1::double + 0.2::double as a, 5e-324::double as b, 'nan'::double as c"
    fields = printed(answer(connection, query), capsys)["csv"]
    assert (float(fields["a"]), float(fields["b"])) == (0.1 + 0.2, 5e-324)
    assert math.isnan(float(fields["c"]))


ENDLESS = "with recursive r(i) as (select 1 union all select i + 1 from r) select {} from r"


@pytest.mark.parametrize(
    "query",
    [
        ENDLESS.format("*"),
        ENDLESS.format("count(*)"),
        "select count(*) from range(10000000) a, range(10000000) b",
        "explain analyze select count(*) from range(10000000) a, range(10000000) b",
    ],
)
def test_a_query_without_an_end_is_given_up(
    connection: duckdb.DuckDBPyConnection, query: str
) -> None:
    with pytest.raises(InputError, match=r"ran for 0\.2 seconds .*`--time-limit`"):
        answer(connection, query, Limits(seconds=0.2))
    assert answer(connection, "select 1 as one").to_pylist() == [{"one": 1}]


@pytest.mark.parametrize(
    "query",
    [
        "select * from range(1000000000000)",  # the answer
        "select list(range) from range(100000000)",  # what it is made of
        "pivot (select range % 1000000 as r, 1 as v from range(100000000)) on r using sum(v)",
    ],
)
def test_a_query_that_is_too_large_is_given_up(
    connection: duckdb.DuckDBPyConnection, query: str
) -> None:
    with pytest.raises(InputError, match=r"more than 50 MB.*`--memory-limit`"):
        answer(connection, query, Limits(megabytes=50))
    assert answer(connection, "select 1 as one").to_pylist() == [{"one": 1}]


def test_limits_change_no_answer(connection: duckdb.DuckDBPyConnection) -> None:
    query = "select range as r, range / 3 as third, [range] as list from range(250000)"
    limited = answer(connection, query, Limits(60.0, 200))
    assert limited.equals(answer(connection, query))
    assert limited.schema == answer(connection, query).schema
