"""A file of rows as a user writes it, JSONL or Parquet, and where a row stands when it is wrong.

What the rows mean is the business of those that read them: prompts, preferences, texts.
"""

from __future__ import annotations

import io
import json
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
            InputError: it is missing or can't be read.
        """
        try:
            return self.location().read_bytes()
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
                    number, f"unknown column {name!r}; {nearest(name, known)}",
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

    def _json_rows(self, data: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
            try:
                text = line.decode("utf-8").strip()
                row = json.loads(text) if text else None
            except UnicodeDecodeError as error:
                reason = f"not UTF-8 text (byte {error.start} of the line)"
                raise self.refused(number, reason, "Save the file as UTF-8") from None
            except json.JSONDecodeError as error:
                reason = f"no JSON ({error.msg}, column {error.colno})"
                raise self.refused(number, reason) from None
            except (ValueError, RecursionError) as error:  # a number of too many digits, too deep
                raise self.refused(number, f"no JSON ({error})") from None
            if not text:
                continue
            if not isinstance(row, dict):
                raise self.refused(number, f"{shown(row)} is no JSON object")
            yield number, row

    def _parquet_rows(self, data: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
        try:
            rows = pq.read_table(io.BytesIO(data)).to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = f"no readable Parquet file ({str(error).splitlines()[0]})"
            raise self.refused(None, reason) from None
        yield from enumerate(rows, 1)


def shown(value: Any) -> str:
    """A value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."
