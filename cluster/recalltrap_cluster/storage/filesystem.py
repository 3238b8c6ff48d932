"""The storage as Ray is given it: a filesystem whose credentials never reach a file.

Tune and Train pickle their filesystem into what they write there (`tuner.pkl`,
`experiment_state-*.json`), and pyarrow's pickles hold its keys. Ours hold the name of an actor,
which tells the session's processes where the storage is, and ends with the session.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from pyarrow import fs

from recalltrap.store.storage import Storage


class StorageLocation:
    """The location of a storage, for as long as the session lasts; a Ray actor."""

    def __init__(self) -> None:
        self.location = ""

    def set(self, location: str) -> None:
        self.location = location

    def get(self) -> str:
        return self.location


@contextlib.contextmanager
def shared_filesystem(storage: Storage) -> Iterator[fs.FileSystem | None]:
    """A storage's filesystem for Ray, for the duration; None: this machine's.

    Beyond this machine Ray gets paths in a filesystem: a URI may end in a query (its endpoint,
    say), and Ray would append its paths to that. On this machine Ray writes in place, and would
    copy from a folder of its own into any filesystem that it is given.
    """
    if storage.is_local:
        yield None
        return
    if storage.shown == storage.location:
        yield storage.filesystem
        return
    import ray

    name = f"recalltrap-storage-{uuid.uuid4().hex}"
    options = {"name": name, "num_cpus": 0, "scheduling_strategy": "DEFAULT"}
    holder: Any = ray.remote(StorageLocation).options(**options).remote()
    ray.get(holder.set.remote(storage.location))  # an argument of its making would be recorded
    try:
        yield fs.PyFileSystem(SharedStorageHandler(name))
    finally:
        ray.kill(holder)


@cache
def _shared(name: str) -> fs.FileSystem:
    """The filesystem of a shared storage, in any process of the session."""
    import ray

    holder: Any = ray.get_actor(name)
    return Storage(ray.get(holder.get.remote())).filesystem


class SharedStorageHandler(fs.FileSystemHandler):  # type: ignore[misc]
    """Passes everything on to the filesystem of the storage whose location an actor holds."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Callable[[str], SharedStorageHandler], tuple[str]]:
        return SharedStorageHandler, (self.name,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedStorageHandler) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def _fs(self) -> fs.FileSystem:
        return _shared(self.name)

    def get_type_name(self) -> str:
        return "recalltrap"

    def normalize_path(self, path: str) -> str:
        return str(self._fs.normalize_path(path))

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return list(self._fs.get_file_info(paths))

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        return list(self._fs.get_file_info(selector))

    def create_dir(self, path: str, recursive: bool) -> None:
        self._fs.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self._fs.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self._fs.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        self._fs.delete_dir_contents("", accept_root_dir=True)

    def delete_file(self, path: str) -> None:
        self._fs.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        self._fs.move(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        self._fs.copy_file(src, dest)

    def open_input_stream(self, path: str) -> Any:
        return self._fs.open_input_stream(path)

    def open_input_file(self, path: str) -> Any:
        return self._fs.open_input_file(path)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        return self._fs.open_output_stream(path, metadata=metadata)

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        return self._fs.open_append_stream(path, metadata=metadata)
