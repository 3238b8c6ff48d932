"""Where Ray Tune and Ray Train put their own files: into the run's folder of the storage."""

from __future__ import annotations

from typing import Any

from recalltrap.storage import Storage


def storage_of_tune(storage: Storage, folder: str) -> dict[str, Any]:
    """`storage_path` and `storage_filesystem`, as Ray takes them, for a folder of a storage.

    Beyond this machine as a path in a file system: a URI may end in a query (its endpoint, say),
    and Ray would append its paths to that.
    """
    filesystem = None if storage.is_local else storage.filesystem
    return {"storage_path": storage.path(folder), "storage_filesystem": filesystem}
