"""Parquet files that hold no prompts, or more of them than there is room for."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.studies.llm.hostile.case import Hostile, holding


def parquet(table: pa.Table, **options: Any) -> bytes:
    """A table as a file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def of(*columns: tuple[str, Any]) -> bytes:
    """A file of columns, whose names may stand twice."""
    return parquet(pa.table([values for _, values in columns], names=[n for n, _ in columns]))


def bomb(values: int, length: int, column: str = "prompt") -> Callable[[Path], None]:
    """A small file whose rows are one long text, again and again."""

    def make(path: Path) -> None:
        text = pa.DictionaryArray.from_arrays(
            pa.array([0] * values, pa.int32()), pa.array(["x" * length], pa.large_string())
        )
        pq.write_table(pa.table({column: text}), path, compression="zstd")

    return make


def _deep(levels: int) -> pa.Array:
    kind: pa.DataType = pa.string()
    value: Any = "The fox"
    for _ in range(levels):
        kind, value = pa.list_(kind), [value]
    return pa.array([value], kind)


def _invalid_utf8() -> pa.Array:
    buffers = [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0"), pa.py_buffer(b"The\xff")]
    return pa.Array.from_buffers(pa.string(), 1, buffers)


def _nulls(path: Path) -> None:
    with pq.ParquetWriter(path, pa.schema({"prompt": pa.string()})) as writer:
        part = pa.table({"prompt": pa.nulls(5_000_000, pa.string())})
        for _ in range(5):
            writer.write_table(part)


def of_parquet(setting: str = "prompts", column: str = "prompt") -> Iterator[Hostile]:
    """Each kind; in the files with good rows too, the bad one is the second."""

    def bad(name: str, data: bytes, says: str = "") -> Hostile:
        return Hostile(f"Parquet: {name}", setting, "rows.parquet", holding(data), says)

    good = of((column, ["The fox", "The moon"]))
    yield bad("the magic alone", b"PAR1")
    yield bad("the magic twice", b"PAR1PAR1")
    yield bad("half of a file", good[: len(good) // 2])
    yield bad("without its end", good[:-1])
    yield bad("a footer longer than the file", good[:-8] + b"\xff\xff\xff\x7fPAR1")
    yield bad("a damaged page", good[:8] + b"\xff" * 12 + good[20:])
    yield bad("a damaged footer", good[:-60] + b"\xff" * 40 + good[-20:])
    yield bad("no row", of((column, pa.array([], pa.string()))), "it holds no")
    yield bad("no column", parquet(pa.table({})))
    yield bad("an unknown column", of(("promt", ["The fox"])), "unknown column 'promt'")
    yield bad("a column twice", of((column, ["The fox"]), (column, ["The moon"])))
    yield bad("ten thousand columns", of(*((f"c{n}", [1]) for n in range(10_000))), "row 1")
    kinds: dict[str, Any] = {
        "numbers": [1, 2], "points": [1.5, float("nan")], "truths": [True, False],
        "bytes": [b"The fox", b"\xff"], "nulls": pa.nulls(2),
        "dates": [dt.date(2026, 1, 1)] * 2, "times": [dt.datetime(2026, 1, 1)] * 2,
        "lists": [["The fox"], []], "structs": [{"a": "The"}, {"a": None}],
        "durations": [dt.timedelta(1)] * 2,
        "categories of numbers": pa.array([1, 2]).dictionary_encode(),
        "maps": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int8())),
    }  # fmt: skip
    for name, values in kinds.items():
        yield bad(name, of((column, values)), "row 1")
    yield bad("a null", of((column, ["The fox", None])), "row 2")
    yield bad("an empty text", of((column, ["The fox", ""])), "row 2")
    yield bad("no UTF-8", of((column, _invalid_utf8())))
    yield bad("nested 60 deep", of((column, _deep(60))))
    yield bad("nested 400 deep", of((column, _deep(400))))
    yield bad("a date after all years", of((column, pa.array([2**31 - 1], pa.date32()))))
    yield bad("a time after all years", of((column, pa.array([2**62], pa.timestamp("us")))))
    yield bad("a time zone of nowhere",
              of((column, pa.array([0], pa.timestamp("us", tz="Mars/Olympus")))))  # fmt: skip
    yield bad("a duration of all time", of((column, pa.array([2**62], pa.duration("s")))))
    weights = pa.array([1.0, float("inf")])
    if setting == "prompts":
        yield bad(
            "an infinite weight",
            of((column, ["The fox", "The moon"]), ("weight", weights)),
            "row 2.*weight",
        )
        yield bad(
            "an id twice",
            of((column, ["The fox", "The moon"]), ("id", ["a", "a"])),
            "row 2.*id = 'a'",
        )
    yield Hostile("Parquet: 25,000,000 nulls", setting, "rows.parquet", _nulls, "25,000,000 rows")
    yield Hostile("Parquet: 10 GB of text in 100 kB", setting, "rows.parquet",
                  bomb(100_000, 100_000, column), "more than")  # fmt: skip
    yield Hostile("Parquet: one text of 250 MB", setting, "rows.parquet", bomb(1, LARGEST, column))
    yield Hostile("Parquet: ten texts of 100 MB", setting, "rows.parquet",
                  bomb(10, 100_000_000, column), "more than")  # fmt: skip


LARGEST = 250_000_000
"""Just less than a file's texts may take."""
