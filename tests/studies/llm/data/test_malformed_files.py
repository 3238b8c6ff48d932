"""Whatever a file of prompts, preferences or truth holds, it is read or refused in one line."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recalltrap.errors import InputError
from recalltrap_studies.llm.data import row_files
from recalltrap_studies.llm.data.corpus import read_documents
from recalltrap_studies.llm.data.preference_files import read_preferences
from recalltrap_studies.llm.data.prompt_files import read_prompts
from recalltrap_studies.llm.data.truth_files import read_truth

pytestmark = pytest.mark.slow

Read = Callable[[str], Any]
READERS: list[Read] = [read_prompts, read_preferences, read_truth]
NAMES = ("prompt", "messages", "id", "weight", "chosen", "rejected", "text", "response", "group")
SLOW_IS_FINE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text("ab \n\u2028é", max_size=8),
    st.sampled_from(["", "user", "assistant", "system", "\ud800", "\x00", 10**400, -(10**30)]),
)  # fmt: skip
MESSAGES = st.lists(
    st.fixed_dictionaries({}, optional={"role": SCALARS, "content": SCALARS, "name": SCALARS}),
    max_size=3,
)
VALUES = st.one_of(SCALARS, MESSAGES, st.recursive(SCALARS, st.lists, max_leaves=4))
ROWS = st.lists(st.dictionaries(st.sampled_from((*NAMES, "other", "")), VALUES), max_size=4)
PIECES = [b"{", b"}", b"[", b'"', b"\\", b"\n", b"\r", b"\x00", b"\xff", b"\xef\xbb\xbf", b"NaN",
          b"1e999", b"-", b"[" * 3000, b'{"a":' * 3000, b"9" * 5000, b"PAR1", b'"\\ud800"',
          b'"\\udc00\\ud800"', b"null", b"\xe2\x80\xa8", b","]  # fmt: skip
GOOD = b"\n".join(
    json.dumps(row).encode()
    for row in (
        {"prompt": "The sea", "id": "a", "weight": 2},
        {"prompt": "The fox", "chosen": " sees.", "rejected": " flies."},
        {"messages": [{"role": "user", "content": "Why?"}], "response": "So.", "group": "b"},
        {"text": "The moon counts."},
    )
)


def judge(read: Read, folder: Path, data: bytes, name: str = "rows.jsonl") -> str | None:
    """What is said of a file; None where it is read."""
    path = folder / name
    path.write_bytes(data)
    try:
        read(str(path))
    except InputError as error:
        message = str(error)
        assert len(message.splitlines()) == 1, message
        assert len(message) < 1500, message
        assert name in message
        return message
    return None


@pytest.mark.parametrize("read", READERS)
@settings(max_examples=150, suppress_health_check=SLOW_IS_FINE)
@given(rows=ROWS)
def test_any_rows_are_read_or_refused(read: Read, rows: list[Any], tmp_path: Path) -> None:
    judge(read, tmp_path, "\n".join(json.dumps(row) for row in rows).encode())


@pytest.mark.parametrize("read", READERS)
@settings(max_examples=150, suppress_health_check=SLOW_IS_FINE)
@given(st.data())
def test_any_bytes_are_read_or_refused(read: Read, tmp_path: Path, data: st.DataObject) -> None:
    text = GOOD.splitlines()[data.draw(st.integers(0, 3))]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = min(len(text), at + data.draw(st.sampled_from([0, 1, 5, 40])))
        text = text[:at] + data.draw(st.sampled_from(PIECES) | st.binary(max_size=3)) + text[end:]
    judge(read, tmp_path, text)
    judge(read, tmp_path, text, "rows.txt")


@pytest.mark.parametrize("read", READERS)
@settings(max_examples=60, suppress_health_check=SLOW_IS_FINE)
@given(st.data())
def test_any_parquet_is_read_or_refused(read: Read, tmp_path: Path, data: st.DataObject) -> None:
    kinds: list[Any] = [
        pa.string(), pa.int64(), pa.float64(), pa.binary(), pa.date64(), pa.decimal128(38, 3),
        pa.list_(pa.string()), pa.map_(pa.string(), pa.int8()), pa.dictionary(pa.int8(), pa.utf8()),
        pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])), pa.null(),
    ]  # fmt: skip
    names = data.draw(st.lists(st.sampled_from([*NAMES, "other"]), unique=True, max_size=4))
    columns = [pa.nulls(2, data.draw(st.sampled_from(kinds))) for _ in names]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, names=names), sink)
    whole = sink.getvalue()
    judge(read, tmp_path, whole)
    at = data.draw(st.integers(4, len(whole)))
    judge(read, tmp_path, whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + 3 :])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ('{"prompt": "\\ud800"}', r"half of a character"),
        ('{"prompt": "x", "weight": ' + "9" * 400 + "}", r"weight = 999"),
        ('{"prompt": "x", "weight": 1e308}', r"weight = 1e\+308"),
        ('{"prompt": ' + "[" * 600 + "]" * 600 + "}", r"no text|no JSON"),
        ('{"prompt": ' + "9" * 5000 + "}", r"no JSON"),
    ],
)
def test_odd_values_are_named(row: str, expected: str, tmp_path: Path) -> None:
    message = judge(read_prompts, tmp_path, f'{{"prompt": "a"}}\n{row}'.encode())
    assert message is not None
    assert "row 2" in message
    assert re.search(expected, message), message


def bomb(path: Path, length: int, rows: int) -> str:
    """A small Parquet file whose rows are a long text, again and again."""
    text = pa.DictionaryArray.from_arrays(
        pa.array([0] * rows, pa.int32()), pa.array(["x" * length], pa.large_string())
    )
    pq.write_table(pa.table({"prompt": text}), path, compression="zstd")
    return str(path)


@pytest.mark.parametrize("read", [*READERS, read_documents])
def test_what_is_no_regular_file_is_not_read(read: Read, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    for path in (pipe, link, Path("/dev/zero"), Path("/dev/stdin")):
        with pytest.raises(InputError, match="it is no regular file"):
            read(str(path))
    with pytest.raises(InputError, match="Is a directory"):
        read(str(tmp_path))


@pytest.mark.parametrize("read", READERS)
def test_files_that_are_too_large_are_refused_unread(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = tmp_path / "sparse.jsonl"
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr(row_files.read_regular, "__defaults__", (1 << 20,))
    with pytest.raises(InputError, match="it holds more than 1,048,576 bytes"):
        read(str(sparse))


def test_a_small_parquet_file_with_large_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = bomb(tmp_path / "bomb.parquet", 100_000, 100_000)  # 10 GB in a few kB
    assert os.path.getsize(spec) < 100_000
    with pytest.raises(InputError, match="its rows take more than"):
        read_prompts(spec)
    monkeypatch.setattr(row_files, "MOST_ROWS", 99_999)
    with pytest.raises(InputError, match="100,000 rows"):
        read_prompts(spec)
