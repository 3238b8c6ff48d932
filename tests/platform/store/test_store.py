from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.store.storage import Storage
from recalltrap.store.store import FEW_ARTIFACTS, ArtifactStore, Cost

PARENT = Node("sft", 3, {"rate": 0.1})
NODE = Node("distill", 3, {"components": 4}, {"teacher": PARENT})
COST = Cost(1.5, 3.0, 100, 1e6, "cpu", 2)
FILES = {"model.safetensors": b"weights", "more.bin": b"\x00\xff"}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    storage = Storage(str(tmp_path / "runs"))
    storage.prepare()
    return ArtifactStore(storage)


def again(store: ArtifactStore) -> ArtifactStore:
    """As another process sees the store."""
    return ArtifactStore(Storage(store.storage.location))


def folder(store: ArtifactStore) -> Path:
    return Path(store.storage.path(store.folder(NODE)))


def test_what_was_put_is_there_for_everybody(store: ArtifactStore) -> None:
    assert not store.has(NODE)
    store.put(NODE, FILES, COST)
    for reader in (store, again(store)):
        assert reader.has(NODE)
        assert {name: reader.read(NODE, name) for name in FILES} == FILES
        reader.open(NODE).verify()
    assert not again(store).has(PARENT)


def test_the_record_says_where_it_came_from(store: ArtifactStore) -> None:
    store.put(NODE, FILES, COST)
    record = json.loads((folder(store) / "record.json").read_text())
    assert record == store.open(NODE).record
    assert record["artifact_id"] == NODE.id
    assert record["artifact_id"] == hashlib.sha256(record["hashed"].encode()).hexdigest()[:20]
    assert record["parents"] == [PARENT.id]
    assert record["cost"]["tokens"] == 100
    assert record["files"]["more.bin"]["bytes"] == 2
    provenance = json.loads(store.storage.read(f"provenance/{record['provenance']}.json"))
    assert {"argv", "commit", "host", "versions"} <= set(provenance)


def test_the_record_is_written_last(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill after any file but the last leaves nothing that counts."""
    written: list[str] = []
    write = Storage.write

    def dying(self: Storage, relative: str, data: bytes) -> None:
        if relative.endswith("record.json"):
            raise KeyboardInterrupt
        written.append(relative.rpartition("/")[2])
        write(self, relative, data)

    monkeypatch.setattr(Storage, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        store.put(NODE, FILES, COST)
    assert set(FILES) <= set(written)
    assert not store.has(NODE)
    assert not again(store).has(NODE)
    monkeypatch.undo()
    store.put(NODE, FILES, COST)
    store.open(NODE).verify()


def test_putting_twice_is_harmless(store: ArtifactStore) -> None:
    store.put(NODE, FILES, COST)
    again(store).put(NODE, FILES, COST)
    store.open(NODE).verify()
    assert {name: store.read(NODE, name) for name in FILES} == FILES


@pytest.mark.parametrize("name", FILES)
def test_an_edited_file_is_refused(store: ArtifactStore, name: str) -> None:
    store.put(NODE, FILES, COST)
    (folder(store) / name).write_bytes(b"tampered")
    with pytest.raises(InputError, match=f"{name} was changed.*Remove that folder"):
        again(store).read(NODE, name)
    with pytest.raises(InputError, match=str(folder(store))):
        again(store).open(NODE).verify()


def test_a_missing_file_is_refused(store: ArtifactStore) -> None:
    store.put(NODE, FILES, COST)
    (folder(store) / "more.bin").unlink()
    with pytest.raises(InputError, match=r"more\.bin is missing"):
        again(store).open(NODE).verify()
    with pytest.raises(InputError, match=r"other\.bin"):
        store.read(NODE, "other.bin")


def test_a_file_that_the_record_does_not_know_is_refused(store: ArtifactStore) -> None:
    store.put(NODE, FILES, COST)
    (folder(store) / "other.bin").write_bytes(b"smuggled")
    with pytest.raises(InputError, match=r"other\.bin"):
        store.read(NODE, "other.bin")


def test_without_a_record_there_is_no_artifact(store: ArtifactStore) -> None:
    with pytest.raises(InputError, match=r"record\.json can't be used"):
        store.open(NODE)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"hashed": 1}', "null"])
def test_a_damaged_record_is_refused(store: ArtifactStore, text: str) -> None:
    store.put(NODE, FILES, COST)
    (folder(store) / "record.json").write_text(text)
    with pytest.raises(InputError, match=r"record\.json can't be used.*Remove that folder"):
        again(store).read(NODE, "more.bin")


def test_a_record_of_another_artifact_is_refused(store: ArtifactStore) -> None:
    store.put(NODE, FILES, COST)
    store.put(PARENT, FILES, COST)
    strange = Path(store.storage.path(store.folder(PARENT))) / "record.json"
    (folder(store) / "record.json").write_bytes(strange.read_bytes())
    with pytest.raises(InputError, match="describes another artifact"):
        again(store).read(NODE, "more.bin")


def test_files_written_one_by_one_count_once_they_are_sealed(store: ArtifactStore) -> None:
    for name, data in FILES.items():
        digest = store.write_file(NODE, name, data)
        assert digest == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        assert not again(store).has(NODE)
        assert again(store).digest(NODE, name) == digest
    store.seal(NODE, {name: store.digest(NODE, name) for name in FILES}, COST)
    sealed = again(store)
    assert sealed.has(NODE)
    assert {name: sealed.read(NODE, name) for name in FILES} == FILES
    sealed.open(NODE).verify()


def test_what_does_not_stand_cannot_be_sealed(store: ArtifactStore) -> None:
    store.write_file(NODE, "model.safetensors", b"weights")
    with pytest.raises(FileNotFoundError):
        store.digest(NODE, "more.bin")
    assert not again(store).has(NODE)


def test_tables_go_in_and_out(store: ArtifactStore) -> None:
    table = pa.table({"step": [1, 2], "value": [0.5, float("inf")]})
    store.put(NODE, {"curves.parquet": table, "facts.json": b"{}"}, COST)
    assert store.read_table(NODE, "curves.parquet").equals(table)
    assert again(store).open(NODE).names == ["curves.parquet", "facts.json"]


def test_a_table_that_is_written_beside_others_is_sealed_with_them(store: ArtifactStore) -> None:
    parts = [pa.table({"row": [index]}) for index in range(3)]
    files = {
        f"train-{index}.parquet": store.put_table(NODE, f"train-{index}.parquet", part)
        for index, part in enumerate(parts)
    }
    assert not store.has(NODE)
    store.seal(NODE, files, COST)
    artifact = store.open(NODE)
    assert [artifact.read_table(name) for name in artifact.names] == parts
    assert [artifact.table_footer(name).num_rows for name in artifact.names] == [1, 1, 1]


def test_the_record_is_read_once_however_many_files_are(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(NODE, {f"{index}.bin": b"x" for index in range(20)}, COST)
    read = store.storage.read
    asked: list[str] = []

    def counted(path: str) -> bytes:
        asked.append(path)
        return read(path)

    monkeypatch.setattr(store.storage, "read", counted)
    artifact = store.open(NODE)
    assert {artifact.read(name) for name in artifact.names} == {b"x"}
    assert sum(path.endswith("record.json") for path in asked) == 1
    assert len(asked) == 21


@pytest.mark.parametrize("asked", [3, FEW_ARTIFACTS + 1])
def test_what_was_built_is_told_of_few_and_of_many(store: ArtifactStore, asked: int) -> None:
    nodes = [Node("sft", seed, {}) for seed in range(asked)]
    store.put(nodes[1], {"weights": b"1"}, COST)
    store.write_file(nodes[2], "weights", b"half of an artifact")
    assert again(store).built(nodes) == {nodes[1].id}
    assert again(store).built([]) == set()
