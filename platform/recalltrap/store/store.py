"""The artifact store: every stage's output once, under the hash of what decides it.

`<storage>/artifacts/<stage>/<id>/` holds the files and `record.json`, written last: an artifact
without a record does not exist.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.store.provenance import current_provenance
from recalltrap.store.storage import Storage

RECORD = "record.json"
FEW_ARTIFACTS = 100
"""Up to so many of a stage are looked for one by one: a store may hold many more."""


@dataclass(frozen=True)
class Cost:
    """What building an artifact took. `tokens` counts samples drawn in a mixture study."""

    wall_seconds: float
    device_seconds: float
    tokens: int
    flops: float
    device: str
    workers: int
    updates: int | None = None
    """Of parameters; None where nobody counted."""


class FileDigest(TypedDict):
    """What a record says of one file."""

    sha256: str
    bytes: int


class ArtifactStore:
    """Artifacts by node. Reading verifies checksums; putting the same node twice is harmless."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._known: set[str] = set()

    def folder(self, node: Node) -> str:
        return f"artifacts/{node.stage}/{node.id}"

    def has(self, node: Node) -> bool:
        """Whether the artifact was built, here or by anybody before."""
        if node.id not in self._known and self.storage.exists(f"{self.folder(node)}/{RECORD}"):
            self._known.add(node.id)
        return node.id in self._known

    def built(self, nodes: Iterable[Node]) -> set[str]:
        """Ids of those that were built; many of a stage by one listing, fast on any storage."""
        stages: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            stages[node.stage].append(node)
        found: set[str] = set()
        for stage, asked in stages.items():
            if len(asked) > FEW_ARTIFACTS:
                there = set(self.storage.list(f"artifacts/{stage}"))
                asked = [node for node in asked if node.id in there]
            found.update(node.id for node in asked if self.has(node))
        return found

    def put(self, node: Node, files: Mapping[str, bytes | pa.Table], cost: Cost) -> None:
        """Write the files, then the record; tables as Parquet."""
        written = {}
        for name, data in files.items():
            write = self.put_table if isinstance(data, pa.Table) else self.write_file
            written[name] = write(node, name, data)
        self._write_record(node, written, cost)

    def put_table(self, node: Node, name: str, table: pa.Table) -> FileDigest:
        """Write one table of an artifact that isn't complete yet; `seal` completes it."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return self.write_file(node, name, sink.getvalue().to_pybytes())

    def write_file(self, node: Node, name: str, data: bytes) -> FileDigest:
        """Write one file of an artifact that isn't complete yet; `seal` completes it."""
        self.storage.write(f"{self.folder(node)}/{name}", data)
        return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    def digest(self, node: Node, name: str) -> FileDigest:
        """What `write_file` said of a file that stands already; it is read for that.

        Raises:
            FileNotFoundError: it doesn't.
        """
        digest, size = self.storage.digest(f"{self.folder(node)}/{name}")
        return FileDigest(sha256=digest, bytes=size)

    def seal(self, node: Node, files: Mapping[str, FileDigest], cost: Cost) -> None:
        """Write the record over files that stand already, written one by one; see `digest`."""
        self._write_record(node, files, cost)

    def _write_record(self, node: Node, files: Mapping[str, FileDigest], cost: Cost) -> None:
        record = {
            "artifact_id": node.id,
            "stage": node.stage,
            "hashed": node.hashed.decode(),
            "parents": [parent.id for parent in node.parents.values()],
            "files": dict(files),
            "cost": asdict(cost),
            "provenance": current_provenance(self.storage),
            "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        text = json.dumps(record, indent=1, ensure_ascii=False)
        self.storage.clear_temporaries(self.folder(node))
        self.storage.write(f"{self.folder(node)}/{RECORD}", text.encode() + b"\n")
        self._known.add(node.id)

    def open(self, node: Node) -> Artifact:
        """A stored artifact, whose record is read once.

        Raises:
            InputError: there is none, or its record is damaged.
        """
        folder = self.folder(node)
        try:
            record = json.loads(self.storage.read(f"{folder}/{RECORD}"))
            if record["hashed"] != node.hashed.decode() or not isinstance(record["files"], dict):
                raise ValueError("it describes another artifact")
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise _damaged(self.storage, folder, f"{RECORD} can't be used ({error})") from None
        return Artifact(self.storage, folder, record)

    def read(self, node: Node, name: str) -> bytes:
        """One file of an artifact; `open` it to read several."""
        return self.open(node).read(name)

    def read_table(self, node: Node, name: str) -> pa.Table:
        """One table of an artifact; `open` it to read several."""
        return self.open(node).read_table(name)


@dataclass(frozen=True)
class Artifact:
    """What stands in the store for a node. Every file is checked against the record."""

    storage: Storage
    folder: str
    record: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """Its files, without the record."""
        return list(self.record["files"])

    @property
    def cost(self) -> dict[str, Any]:
        """What building it took: the fields of `Cost`; those that a later version added lack."""
        return dict(self.record["cost"])

    def read(self, name: str) -> bytes:
        """One file.

        Raises:
            InputError: it is missing, or was changed after it was written.
        """
        try:
            data = self.storage.read(f"{self.folder}/{name}")
        except FileNotFoundError:
            raise _damaged(self.storage, self.folder, f"{name} is missing") from None
        self._compare(name, hashlib.sha256(data).hexdigest())
        return data

    def read_table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """One table, or some of its columns."""
        return pq.read_table(pa.BufferReader(self.read(name)), columns=columns)

    def table_footer(self, name: str) -> pq.FileMetaData:
        """What a table's file says of itself at its end, without reading the rest.

        Raises:
            InputError: it is missing, or isn't Parquet's.
        """
        path = self.storage.path(f"{self.folder}/{name}")
        try:
            with self.storage.filesystem.open_input_file(path) as file:
                return pq.read_metadata(file)
        except FileNotFoundError:
            raise _damaged(self.storage, self.folder, f"{name} is missing") from None
        except pa.ArrowInvalid:
            what = f"{name} was changed after it was written"
            raise _damaged(self.storage, self.folder, what) from None

    def verify(self) -> None:
        """Check every file.

        Raises:
            InputError: something is missing or was changed.
        """
        for name in self.names:
            try:
                found, _ = self.storage.digest(f"{self.folder}/{name}")
            except FileNotFoundError:
                raise _damaged(self.storage, self.folder, f"{name} is missing") from None
            self._compare(name, found)

    def _compare(self, name: str, found: str) -> None:
        expected = self.record["files"].get(name)
        if expected is None or found != expected["sha256"]:
            what = f"{name} was changed after it was written"
            raise _damaged(self.storage, self.folder, what)


def _damaged(storage: Storage, folder: str, what: str) -> InputError:
    place = storage.display(folder)
    return InputError(f"artifact {place}: {what}. Remove that folder, and it is built again")
