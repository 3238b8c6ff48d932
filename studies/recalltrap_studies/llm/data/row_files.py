"""A file of rows as a user writes it, JSONL or Parquet, and where a row stands when it is wrong.

What the rows mean is the business of those that read them: prompts, preferences, texts.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recalltrap.errors import InputError, nearest
from recalltrap.paths import resolve

PARQUET = b"PAR1"
"""A Parquet file begins with it, whatever it is called."""
LONGEST_SHOWN = 60
MOST_BYTES = 256 << 20
"""Of a file, and of a Parquet file's rows in memory: more is a mistake, or meant to do harm."""
MOST_ROWS = 1_000_000
MOST_CHUNK = 128 << 20
"""Of a column's piece in a Parquet file: reading one takes several times as much memory."""
LONGEST_ROW = 1 << 20
"""Bytes of a row: more than any model here reads, and a tokenizer takes a thousand times as much
memory for it."""
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f]")
"""Signs that no text holds."""


def check_regular(path: Path, most: int) -> None:
    """Look before reading: a device may have no end, and a pipe may never have a beginning.

    Raises:
        OSError: there is none, or it's no regular file, or larger than `most`.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        folder = stat.S_ISDIR(found.st_mode)
        raise OSError(os.strerror(errno.EISDIR) if folder else "it is no regular file")
    if found.st_size > most:
        raise OSError(f"it holds more than {most:,} bytes")


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """A file's bytes.

    Raises:
        OSError: see `check_regular`.
    """
    check_regular(path, most)
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:  # some that the system makes up have no size
        raise OSError(f"it holds more than {most:,} bytes")
    return data


class RowFile:
    """A file that a setting names: its rows, and errors that say which row and what to do.

    `way_out` is what a message ends with unless it knows better.
    """

    def __init__(self, field: str, spec: str, way_out: str) -> None:
        self.field, self.spec, self.way_out = field, spec, way_out

    def place(self, row: int | None) -> str:
        """The setting, the file and the row."""
        return f"{self.field} = {self.spec!r}" + ("" if row is None else f", row {row}")

    def refused(self, row: int | None, reason: str, way_out: str | None = None) -> InputError:
        """An error that names them."""
        return InputError(f"{self.place(row)}: {reason}. {way_out or self.way_out}")

    def location(self) -> Path:
        """Where it lies."""
        return Path(resolve(self.spec, self.field))

    def read(self) -> bytes:
        """What the file holds.

        Raises:
            InputError: it is missing, too large, no file at all, or can't be read.
        """
        try:
            return read_regular(self.location())
        except FileNotFoundError:
            raise self.refused(None, "no such file") from None
        except OSError as error:
            reason = f"can't be read ({error.strerror or error})"
            raise self.refused(None, reason) from None

    def rows(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Every row with its number, from 1; of JSONL its line, and empty lines are none.

        Raises:
            InputError: the file is missing, or neither JSONL in UTF-8 nor Parquet; names the row.
        """
        yield from self.rows_of(self.read())

    def rows_of(self, data: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The same of what the file holds."""
        return self._parquet_rows(data) if data[:4] == PARQUET else self._json_rows(data)

    def columns(
        self, number: int, row: Mapping[str, Any], known: Sequence[str]
    ) -> Mapping[str, Any]:
        """A row without its nulls, which are as good as nothing.

        Raises:
            InputError: it has a column that isn't known.
        """
        for name in row:
            if name not in known:
                raise self.refused(
                    number, f"unknown column {shown(name)}; {nearest(name, known)}",
                    f"A row has {', '.join(known)} and nothing else",
                )  # fmt: skip
        return {name: value for name, value in row.items() if value is not None}

    def text(self, number: int, column: str, given: Any) -> str:
        """A text that isn't empty.

        Raises:
            InputError: it is none.
        """
        if not isinstance(given, str) or not given:
            raise self.refused(number, f"{column} = {shown(given)} is no text",
                               "Write it in quotes")  # fmt: skip
        return given

    def lines(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The lines of what the file holds, with their numbers, from 1; a BOM is none of it.

        Raises:
            InputError: there are too many, or one is too long.
        """
        if data.count(b"\n") > MOST_ROWS:
            raise self.refused(None, f"more than {MOST_ROWS:,} lines", "Give a sample of them")
        stream = io.BytesIO(data.removeprefix(b"\xef\xbb\xbf"))
        for number, line in enumerate(iter(lambda: stream.readline(LONGEST_ROW + 1), b""), 1):
            if len(line) > LONGEST_ROW:
                raise self._too_long(number)
            yield number, line

    def _too_long(self, row: int) -> InputError:
        reason = f"it has more than {LONGEST_ROW:,} bytes, and no model reads so much"
        return self.refused(row, reason, "Shorten or split it, or take it out")

    def _json_rows(self, data: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for number, line in self.lines(data):
            try:
                text = line.decode("utf-8").strip()
                row = json.loads(text, object_pairs_hook=_object) if text else None
                if "\\u" in text:
                    json.dumps(row, ensure_ascii=False).encode()  # no half of a character
            except UnicodeEncodeError:
                raise self.refused(
                    number, r"a \u escape is half of a character", "Write both halves, or the sign"
                ) from None
            except UnicodeDecodeError as error:
                reason = f"not UTF-8 text (byte {error.start} of the line)"
                raise self.refused(
                    number, reason, "Save the file as UTF-8; a Parquet file begins with PAR1"
                ) from None
            except json.JSONDecodeError as error:
                reason = f"no JSON ({error.msg}, column {error.colno})"
                raise self.refused(number, reason) from None
            except _Twice as error:
                reason = f"{error} stands twice in an object"
                raise self.refused(number, reason, "Keep one of them") from None
            except (ValueError, RecursionError) as error:  # a number of too many digits, too deep
                raise self.refused(number, f"no JSON ({error})") from None
            if not text:
                continue
            if not isinstance(row, dict):
                raise self.refused(number, f"{shown(row)} is no JSON object")
            yield number, row

    def _parquet_rows(self, data: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
        try:
            rows = self._parquet_batches(data)
        except InputError:
            raise
        except Exception as error:  # whatever a damaged or strange file does to its reader
            said = (str(error).splitlines() or [type(error).__name__])[0][:300]
            raise self.refused(None, f"no readable Parquet file ({said})") from None
        yield from enumerate(rows, 1)

    def _parquet_batches(self, data: bytes) -> list[Any]:
        """Its rows, a few at a time: a small file may say the same long text a million times."""
        file = pq.ParquetFile(pa.BufferReader(data))
        footer = file.metadata
        chunks = [
            footer.row_group(group).column(column).total_uncompressed_size
            for group in range(footer.num_row_groups)
            for column in range(footer.num_columns)
        ]
        largest = max(chunks, default=0)
        if footer.num_rows > MOST_ROWS or largest > MOST_CHUNK:
            raise self.refused(
                None, f"{footer.num_rows:,} rows, up to {largest:,} bytes in a column of a row "
                "group", f"At most {MOST_ROWS:,} rows, and {MOST_CHUNK:,} bytes there: give a "
                "sample of them, or write smaller row groups",
            )  # fmt: skip
        rows: list[Any] = []
        size = 0
        at_once = max(1, min(10_000, MOST_BYTES // 4 // max(largest, 1)))
        for batch in file.iter_batches(batch_size=at_once):
            if batch.nbytes > LONGEST_ROW * batch.num_rows:
                raise self._too_long(len(rows) + 1)
            found = batch.to_pylist()
            sizes = [_size(row) for row in found]
            if max(sizes) > LONGEST_ROW:
                raise self._too_long(len(rows) + sizes.index(max(sizes)) + 1)
            size += sum(sizes)
            if size > MOST_BYTES:
                raise self.refused(
                    None, f"its rows take more than {MOST_BYTES:,} bytes", "Give a sample of them"
                )
            rows += found
        return rows


class _Twice(ValueError):
    """A key of an object that has it already."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(shown(next(name for name in names if names.count(name) > 1)))
    return found


def _size(value: Any) -> int:
    """About how many bytes the texts of a value take; Arrow counts a repeated one once."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return len(value) if isinstance(value, str | bytes) else 8


def shown(value: Any) -> str:
    """A value as a message shows it, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of too many digits, too deep a list
        text = f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def least_tokens(text: str) -> int:
    """No tokenizer makes fewer of a text: a word is one at least."""
    return len(text.split())
