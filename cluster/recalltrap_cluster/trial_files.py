"""What Tune leaves of a run's trials, read from JSON and text alone.

Tune's own readers unpickle: `.pkl` files, and entries of `experiment_state-*.json`. Whoever can
write into a storage could then run code on the machine of whoever reads it. So none of those is
opened.
"""

from __future__ import annotations

import json
import posixpath
from collections import defaultdict
from typing import Any

from pyarrow import fs

from recalltrap.errors import InputError
from recalltrap.store.storage import Storage
from recalltrap_cluster.ray_internals import (
    CONFIG_FILE,
    ERROR_FILE,
    RESULTS_FILE,
    STATE_PREFIX,
    TrialRecord,
    last_attempt,
    make_record,
    trial_statuses,
)


def launches(storage: Storage, run: str) -> list[str]:
    """The folders of a run's launches through Tune, the last one first."""
    return [f"{run}/tune/{name}" for name in reversed(storage.list(f"{run}/tune"))]


def read_trials(storage: Storage, folder: str) -> list[TrialRecord]:
    """The trials of a launch, in the order of their first results.

    Raises:
        InputError: a file of Tune's holds something else than plain JSON.
    """
    root = storage.path(folder)
    selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
    files: dict[str, set[str]] = defaultdict(set)  # by the trial's folder
    for info in storage.filesystem.get_file_info(selector):
        place, name = posixpath.split(posixpath.relpath(info.path, root))
        if name in (CONFIG_FILE, RESULTS_FILE, ERROR_FILE) and place and "/" not in place:
            files[place].add(name)
    statuses = _statuses(storage, folder)
    records = [
        _read_trial(storage, f"{folder}/{name}", files[name], statuses.get(name))
        for name in sorted(files)
    ]
    return sorted(records, key=_began)


def _statuses(storage: Storage, folder: str) -> dict[str, str]:
    """How the trials ended, by their ids, as the last state of the experiment says it."""
    states = [name for name in storage.list(folder) if name.startswith(STATE_PREFIX)]
    return trial_statuses(storage.read(f"{folder}/{states[-1]}")) if states else {}


def _began(record: TrialRecord) -> float:
    began = record.rows[0].get("timestamp") if record.rows else None
    return float(began) if isinstance(began, int | float) else float("inf")


def _read_trial(storage: Storage, folder: str, names: set[str], status: str | None) -> TrialRecord:
    rows: list[dict[str, Any]] = []
    if RESULTS_FILE in names:
        text = storage.read(f"{folder}/{RESULTS_FILE}").decode(errors="replace")
        # What stands behind the last line's end was being written when the run was killed.
        lines = text[: text.rfind("\n") + 1].splitlines()
        rows = [_object(storage, f"{folder}/{RESULTS_FILE}", line) for line in lines]
    config = rows[-1].get("config") if rows else None
    if CONFIG_FILE in names:
        text = storage.read(f"{folder}/{CONFIG_FILE}").decode(errors="replace")
        config = _object(storage, f"{folder}/{CONFIG_FILE}", text)
    error = None
    if ERROR_FILE in names:
        error = last_attempt(storage.read(f"{folder}/{ERROR_FILE}").decode(errors="replace"))
    place = storage.path(folder)
    return make_record(posixpath.basename(folder), place, dict(config or {}), status, rows, error)


def _object(storage: Storage, path: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("it isn't an object")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{storage.display(path)} isn't the JSON that Ray Tune writes ({error}). "
            "The tables hold the run's results; this folder is for Tune's own views of them"
        ) from None
    return value
