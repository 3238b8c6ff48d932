"""The artifact store: every stage's output once, under the hash of what decides it.

`<storage>/artifacts/<stage>/<id>/` holds the files and `record.json`, written last: an artifact
without a record does not exist.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.store.provenance import current_provenance
from recalltrap.store.storage import Storage

RECORD = "record.json"


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

    def put(self, node: Node, files: Mapping[str, bytes], cost: Cost) -> None:
        """Write the files, then the record."""
        written = {name: self.write_file(node, name, data) for name, data in files.items()}
        self._write_record(node, written, cost)

    def write_file(self, node: Node, name: str, data: bytes) -> FileDigest:
        """Write one file of an artifact that isn't complete yet; `seal` completes it."""
        self.storage.write(f"{self.folder(node)}/{name}", data)
        return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    def seal(self, node: Node, names: Sequence[str], cost: Cost) -> None:
        """Write the record over files that stand already, written one by one.

        Raises:
            FileNotFoundError: one of them doesn't.
        """
        files = {}
        for name in names:
            digest, size = self.storage.digest(f"{self.folder(node)}/{name}")
            files[name] = FileDigest(sha256=digest, bytes=size)
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
        self.storage.write(f"{self.folder(node)}/{RECORD}", text.encode() + b"\n")
        self._known.add(node.id)

    def record(self, node: Node) -> dict[str, Any]:
        """The record of an artifact.

        Raises:
            InputError: there is none, or it is damaged.
        """
        path = f"{self.folder(node)}/{RECORD}"
        try:
            record = json.loads(self.storage.read(path))
            if record["hashed"] != node.hashed.decode() or not isinstance(record["files"], dict):
                raise ValueError("it describes another artifact")
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(node, f"{RECORD} can't be used ({error})") from None
        return dict(record)

    def read(self, node: Node, name: str) -> bytes:
        """One file of an artifact, checked against its record.

        Raises:
            InputError: the artifact is missing or was changed after it was written.
        """
        expected = self.record(node)["files"].get(name)
        try:
            data = self.storage.read(f"{self.folder(node)}/{name}")
        except FileNotFoundError:
            raise self._damaged(node, f"{name} is missing") from None
        if expected is None or hashlib.sha256(data).hexdigest() != expected["sha256"]:
            raise self._damaged(node, f"{name} was changed after it was written")
        return data

    def verify(self, node: Node) -> None:
        """Check the record and every file of an artifact.

        Raises:
            InputError: something is missing or was changed.
        """
        for name, expected in self.record(node)["files"].items():
            try:
                found, _ = self.storage.digest(f"{self.folder(node)}/{name}")
            except FileNotFoundError:
                raise self._damaged(node, f"{name} is missing") from None
            if found != expected["sha256"]:
                raise self._damaged(node, f"{name} was changed after it was written")

    def _damaged(self, node: Node, what: str) -> InputError:
        folder = self.storage.display(self.folder(node))
        return InputError(f"artifact {folder}: {what}. Remove that folder, and it is built again")
