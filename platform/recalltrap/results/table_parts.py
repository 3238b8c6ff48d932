"""The parts of a table as files: written once with a checksum, checked whenever they are read.

The checksum stands in the file itself, so that a part is still one file, written last and at
once. Parts of schema version 1 have none and stay readable.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from recalltrap.errors import InputError
from recalltrap.results.tables import (
    COLUMNS,
    FACTORS,
    LATER,
    SCHEMA_VERSION,
    VERSION_KEY,
    is_setting_type,
    table_schema,
)
from recalltrap.store.storage import Storage

CHECKSUM_KEY = b"recalltrap.sha256"
CHECKED_SINCE = 2  # the first schema version whose parts have a checksum
_BLANK = b"0" * 64  # stands in the checksum's place while the checksum is computed
_WAY_OUT = (
    "Put the file back as it was, or move it and its namesakes in the other tables' folders away, "
    "and the next `recalltrap run` does its cells again"
)


def write_part(storage: Storage, run: str, table: str, part: str, data: pa.Table) -> None:
    """Write one part of a table, whole or not at all. `data` went through `conform`."""
    storage.write(_path(run, table, part), seal(data))


def _path(run: str, table: str, part: str) -> str:
    return f"{run}/tables/{table}/{part}.parquet"


def seal(data: pa.Table) -> bytes:
    """A table as a Parquet file whose metadata hold the SHA-256 of all its other bytes."""
    sink, place = pa.BufferOutputStream(), uuid.uuid4().hex * 2
    with pq.ParquetWriter(sink, data.schema, compression="zstd") as writer:
        writer.write_table(data)
        # Not in the schema's metadata, which Arrow writes a second time in a spelling of its own.
        writer.add_key_value_metadata({CHECKSUM_KEY.decode(): place})
    written: bytes = sink.getvalue().to_pybytes()
    start, blank = written.index(place.encode()), written.replace(place.encode(), _BLANK)
    checksum = hashlib.sha256(blank).hexdigest().encode()
    return blank[:start] + checksum + blank[start + len(checksum) :]


def part_names(storage: Storage, run: str, table: str) -> list[str]:
    """The parts of a table."""
    names = storage.list(f"{run}/tables/{table}")
    return [n.removesuffix(".parquet") for n in names if n.endswith(".parquet") and n[0] != "."]


def read_part(storage: Storage, path: str) -> tuple[bytes, pa.Schema]:
    """One part's bytes and schema: the file is whole, as it was written, and not newer than we are.

    Raises:
        InputError: the file is damaged, was changed, or has a newer schema.
    """
    where = storage.display(path)
    try:
        data = storage.read(path)
        footer = pq.read_metadata(pa.BufferReader(data))
        schema = footer.schema.to_arrow_schema()
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{where} is damaged ({first}). {_WAY_OUT}") from None
    metadata = dict(footer.metadata or {})
    found = metadata.get(VERSION_KEY, b"0").decode(errors="replace")
    if not found.isdecimal() or not 1 <= int(found) <= SCHEMA_VERSION:
        raise InputError(
            f"{where} has schema version {found}, and this version reads "
            f"1 to {SCHEMA_VERSION}: upgrade recalltrap"
        )
    if int(found) >= CHECKED_SINCE and not _is_untouched(data, metadata.get(CHECKSUM_KEY, b"")):
        raise InputError(
            f"{where} was changed after it was written: its checksum doesn't fit. {_WAY_OUT}"
        )
    return data, schema


def _is_untouched(data: bytes, checksum: bytes) -> bool:
    blank = data.replace(checksum, _BLANK) if len(checksum) == len(_BLANK) else b""
    return hashlib.sha256(blank).hexdigest().encode() == checksum


def missing_columns(
    found: pa.Schema, table: str, factors: Sequence[pa.Field], where: str
) -> tuple[str, ...]:
    """The columns that a part doesn't have, because they came after it was written.

    A column of a setting that is no more is let pass: nobody reads it.

    Raises:
        InputError: a column of ours is missing, is there twice or has another type, or there is a
            column that no setting ever was.
    """
    expected = table_schema(table, factors)
    settings = {field.name for field in factors} if FACTORS in COLUMNS[table] else set()
    later = settings | {name for of, name in LATER if of == table}
    for name in found.names:
        if found.names.count(name) > 1:
            _refuse(where, f"has the column {name!r} twice")
        if name not in expected.names and not (
            FACTORS in COLUMNS[table] and _was_a_setting(found.field(name))
        ):
            kind = found.field(name).type
            _refuse(where, f"has a column {name!r} ({kind}) that the table {table!r} doesn't have")
    for field in expected:
        if field.name not in found.names:
            if field.name not in later:
                _refuse(where, f"lacks the column {field.name!r} ({field.type})")
        elif (kind := found.field(field.name).type) != field.type:
            _refuse(where, f"has the column {field.name!r} as {kind} instead of {field.type}")
    return tuple(name for name in expected.names if name in later - set(found.names))


def _was_a_setting(field: pa.Field) -> bool:
    """Whether a column that we don't know looks as our writer writes a setting's."""
    return is_setting_type(field.type) and b"description" in (field.metadata or {})


def _refuse(where: str, what: str) -> NoReturn:
    raise InputError(f"{where} {what}: recalltrap doesn't write such a part. {_WAY_OUT}")


def fill(data: pa.Table, schema: pa.Schema, defaults: Mapping[str, pa.Scalar]) -> pa.Table:
    """A part's rows with the columns of `schema`: what is missing holds its default."""
    columns = [
        data[field.name] if field.name in data.column_names
        else pa.chunked_array([pa.repeat(defaults[field.name], data.num_rows)])
        for field in schema
    ]  # fmt: skip
    return pa.table(columns, schema=schema)
