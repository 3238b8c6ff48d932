"""The files that tables are made of: whole, as they were written, with the right columns."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recalltrap as rt
from recalltrap.errors import InputError
from recalltrap.results.results import Results
from recalltrap.results.table_parts import CHECKSUM_KEY, part_names, read_part, seal, write_part
from recalltrap.results.tables import COLUMNS, SCHEMA_VERSION, VERSION_KEY, conform, table_schema
from recalltrap.store.storage import Storage

Change = Callable[[pa.Table], pa.Table]
ROW: dict[str, list[Any]] = {
    "cell_id": ["a"], "stage": ["align"], "step": [5], "metric": ["reward"], "value": [1.5],
}  # fmt: skip


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    root = Storage(str(tmp_path / "runs"))
    root.prepare()
    return root


PATH = "studies/x/tables/curves/p1.parquet"


def write(storage: Storage) -> Path:
    table = conform("curves", ROW, table_schema("curves"))
    write_part(storage, "studies/x", "curves", "p1", table)
    return Path(storage.path(PATH))


def test_a_part_comes_back_with_its_schema(storage: Storage) -> None:
    path = write(storage)
    assert read_part(storage, PATH)[1].equals(table_schema("curves"), check_metadata=True)
    assert pq.read_table(path).to_pydict() == ROW
    assert part_names(storage, "studies/x", "curves") == ["p1"]
    assert part_names(storage, "studies/x", "cells") == []


def test_scraps_of_a_killed_writer_are_no_parts(storage: Storage) -> None:
    path = write(storage)
    (path.parent / ".p2.parquet.0123.tmp").write_bytes(b"PAR1")
    (path.parent / ".p3.parquet").write_bytes(b"PAR1")
    (path.parent / "notes.txt").write_text("x")
    assert part_names(storage, "studies/x", "curves") == ["p1"]


@pytest.mark.parametrize("keep", [0, 3, 0.5, -1])
def test_a_file_cut_short_is_refused(storage: Storage, keep: float) -> None:
    path = write(storage)
    data = path.read_bytes()
    length = int(len(data) * keep) if 0 < keep < 1 else int(keep)
    path.write_bytes(data[:length])
    with pytest.raises(InputError, match=r"p1\.parquet is damaged.*recalltrap run"):
        read_part(storage, PATH)


@pytest.mark.parametrize("version", [str(SCHEMA_VERSION + 1), "0", "x", None])
def test_another_schema_version_is_refused(storage: Storage, version: str | None) -> None:
    path = write(storage)
    metadata = {"recalltrap.schema_version": version} if version else {}
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    with pytest.raises(InputError, match=r"p1\.parquet has schema version"):
        read_part(storage, PATH)


def test_a_part_holds_the_checksum_of_all_its_bytes(storage: Storage) -> None:
    data = write(storage).read_bytes()
    metadata = pq.read_metadata(pa.BufferReader(data)).metadata
    assert len(metadata[CHECKSUM_KEY]) == 64
    assert seal(conform("curves", ROW, table_schema("curves"))) == data  # the same every time


@pytest.mark.parametrize("place", [8, 0.25, 0.5, 0.75, -12])
def test_a_flipped_bit_is_noticed(storage: Storage, place: float) -> None:
    path = write(storage)
    data = bytearray(path.read_bytes())
    data[int(len(data) * place) if 0 < place < 1 else int(place)] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"p1\.parquet (was changed|is damaged|has schema)"):
        read_part(storage, PATH)


def _old(path: Path, change: Change) -> None:
    """Write a part as it was written before there were checksums, changed."""
    metadata = {VERSION_KEY: b"1"}
    pq.write_table(change(pq.read_table(path)).replace_schema_metadata(metadata), path)


def _edited(path: Path, change: Change, **kept: str) -> None:
    """Edit a part as a tool would that keeps all metadata."""
    table = pq.read_table(path)
    metadata = {**table.schema.metadata, **kept}
    pq.write_table(change(table).replace_schema_metadata(metadata), path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with two parts of most tables."""
    folder = tmp_path_factory.mktemp("parts") / "runs"
    for seeds in (2, 3):
        rt.run("toy/tiny", seeds=seeds, storage=str(folder), local=True)
    return folder


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Results:
    """A copy of a finished run, to be damaged."""
    return _copied(finished, tmp_path / "copy")


def _copied(finished: Path, folder: Path) -> Results:
    shutil.copytree(finished, folder)
    return rt.open_run("toy/tiny", str(folder))


def _parts(results: Results, table: str) -> list[Path]:
    return sorted(Path(results.folder, "tables", table).glob("*.parquet"))


def _doubled(table: pa.Table, column: str) -> pa.Table:
    place = table.schema.get_field_index(column)
    value = pa.array([2 * x for x in table[column].to_pylist()], table[column].type)
    return table.set_column(place, table.field(column), value)


@pytest.mark.slow
@pytest.mark.parametrize("stolen", [False, True])
@pytest.mark.parametrize(
    ("table", "column"),
    [("cells", "seed"), ("metrics", "value"), ("curves", "value"), ("costs", "tokens"),
     ("planned", "kl_weight")],
)  # fmt: skip
def test_an_edited_value_is_noticed_wherever_it_stands(
    table: str, column: str, stolen: bool, results: Results
) -> None:
    """With its old checksum, or without one, as most tools write it."""
    part = _parts(results, table)[0]
    checksum = pq.read_metadata(part).metadata[CHECKSUM_KEY].decode()
    _edited(
        part,
        lambda rows: _doubled(rows, column),
        **{CHECKSUM_KEY.decode(): checksum} if stolen else {},
    )
    with pytest.raises(InputError, match=rf"{part.name} was changed after it was written"):
        results.table("cells")
    with pytest.raises(InputError, match=rf"{part.name} was changed after it was written"):
        rt.run("toy/tiny", seeds=3, storage=results.storage.location, local=True)


@pytest.mark.slow
def test_parts_from_before_checksums_stay_readable(results: Results) -> None:
    before = {table: results.table(table) for table in COLUMNS}
    for table in COLUMNS:
        for part in _parts(results, table):
            _old(part, lambda rows: rows)
    again = Results(results.storage, results.run)
    assert {table: again.table(table) for table in COLUMNS} == before


@pytest.mark.slow
@pytest.mark.parametrize("how", ["folder", "fol[d]er"])  # the second is read by Arrow, not DuckDB
def test_costs_from_before_updates_were_counted_say_that_nobody_counted(
    how: str, finished: Path, tmp_path: Path
) -> None:
    results = _copied(finished, tmp_path / how)
    before = results.table("costs")
    first = _parts(results, "costs")[0]
    _old(first, lambda rows: rows.drop_columns(["updates"]))
    after = Results(results.storage, results.run).table("costs")
    assert after.drop_columns(["updates"]) == before.drop_columns(["updates"])
    uncounted = after["updates"].null_count
    assert uncounted == pq.read_table(first).num_rows < len(after)
    assert before["updates"].null_count == 0


def _retyped(name: str, kind: pa.DataType) -> Change:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        return table.set_column(place, pa.field(name, kind), table[name].cast(kind))

    return change


def _with(name: str, **metadata: str) -> Change:
    def change(table: pa.Table) -> pa.Table:
        field = pa.field(name, pa.float64(), metadata=metadata)
        return table.append_column(field, pa.array([1.5] * len(table)))

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "change", "expected"),
    [
        ("metrics", _retyped("value", pa.float32()), "'value' as float instead of double"),
        ("metrics", _retyped("value", pa.string()), "'value' as string instead of double"),
        ("cells", _retyped("seed", pa.int32()), "'seed' as int32 instead of int64"),
        ("cells", _retyped("started_at", pa.timestamp("ns", "UTC")), "timestamp"),
        ("planned", _retyped("kl_weight", pa.string()), "'kl_weight' as string"),
        ("curves", lambda t: t.drop_columns(["metric"]), r"lacks the column 'metric' \(string\)"),
        ("costs", lambda t: t.rename_columns({"flops": "operations"}), "column 'operations'"),
        ("curves", _with("weight", description="no table of settings"), "a column 'weight'"),
        ("metrics", _with("weight"), "a column 'weight'"),
        ("costs", lambda t: t.append_column("stage", t["stage"]), "column 'stage' twice"),
    ],
)  # fmt: skip
def test_other_columns_and_types_are_refused(
    table: str, change: Change, expected: str, results: Results
) -> None:
    part = _parts(results, table)[0]
    _old(part, change)
    with pytest.raises(InputError, match=rf"{part.name} .*{expected}.*`recalltrap run`"):
        results.table("cells")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["folder", "fol[d]er"])  # the second is read by Arrow, not DuckDB
def test_settings_come_and_go_and_old_parts_stay_readable(
    how: str, finished: Path, tmp_path: Path
) -> None:
    """A setting without a column has its default; one that is no more is left out."""
    results = _copied(finished, tmp_path / how)
    before = {table: results.table(table) for table in COLUMNS}
    gone = ["teacher_sharpness", "targets"]
    for table in ("cells", "metrics", "planned"):
        for part in _parts(results, table)[::2]:
            _old(part, lambda rows: _with("momentum", description="")(rows.drop_columns(gone)))
    again = Results(results.storage, results.run)
    assert {table: again.table(table) for table in COLUMNS} == before
    rows = again.sql("select distinct teacher_sharpness, targets from metrics").to_pylist()
    assert rows == [{"teacher_sharpness": 1.0, "targets": [7]}]
