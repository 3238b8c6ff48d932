"""What killed processes left of a run: lock files, and files that they were writing.

Neither counts for anything; they are removed when the run is started again. What was begun of an
artifact goes when it is built (see `ArtifactStore`).
"""

from __future__ import annotations

from recalltrap.store.build_locks import clear_locks
from recalltrap.store.storage import Storage


def clear_leftovers(storage: Storage, run: str) -> None:
    """Remove them, and nothing that a living process holds or can't write anew."""
    if not storage.is_local:
        return
    clear_locks(storage)
    tables = [f"{run}/tables/{name}" for name in storage.list(f"{run}/tables")]
    folders = (run, f"{run}/launches", f"{run}/failed_stages", f"{run}/report", *tables)
    for folder in (".", "provenance", *folders):
        storage.clear_temporaries(folder)
