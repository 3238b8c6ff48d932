"""Checkpoints inside a stage: where they lie, which one to go on from, and their removal.

They serve resuming alone; the artifact of a stage holds whole weights and is written elsewhere.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.resources import resources_of

STATE = "trainer_state.json"
NAME = re.compile(r"checkpoint-(\d+)")
CANDIDATES = "candidates"
"""Beside them: whole weights of which an alignment chooses one at its end."""


def scratch_folder(store: ArtifactStore, node: Node, group: WorkerGroup) -> Path:
    """Where a stage keeps its checkpoints: `<storage>/scratch/<node.id>/<layout>`.

    The layout names workers and ZeRO stage, since shards written by one layout fit no other. Where
    the storage isn't local it is a temporary folder of this machine, which `mirror` copies to that
    place. Nothing is created.
    """
    zero = resources_of(group).zero_stage if group.distributed else None
    layout = f"{group.size}-workers" + (f"-zero-{zero}" if zero else "")
    storage = store.storage
    root = Path(storage.path("scratch") if storage.is_local else tempfile.gettempdir())
    return root / (node.id if storage.is_local else f"recalltrap-{node.id}") / layout


def last(scratch: Path, group: WorkerGroup | None = None) -> str | None:
    """The newest complete checkpoint, the same on every rank of the group; None without one.

    A checkpoint is complete when the trainer's state, which is written last, and the random state
    of every rank stand in it.
    """
    group = group or WorkerGroup()
    newest: str | None = None
    if group.leads and scratch.is_dir():
        folders = [folder for folder in scratch.iterdir() if NAME.fullmatch(folder.name)]
        whole = [folder for folder in folders if _complete(folder, group.size)]
        newest = str(max(whole, key=_update)) if whole else None
        for folder in folders:  # trainers rotate by time, and would count these as checkpoints
            if folder not in whole:
                shutil.rmtree(folder, ignore_errors=True)
    chosen: str | None = group.broadcast(newest)
    return chosen


def clear(scratch: Path) -> None:
    """Remove a stage's checkpoints of every layout, once its artifact stands."""
    shutil.rmtree(scratch.parent, ignore_errors=True)


def _update(folder: Path) -> int:
    return int(folder.name.partition("-")[2])


def _complete(folder: Path, size: int) -> bool:
    try:
        json.loads((folder / STATE).read_text())
    except (OSError, ValueError):
        return False
    states = ["rng_state.pth"] if size == 1 else [f"rng_state_{rank}.pth" for rank in range(size)]
    return all((folder / name).is_file() for name in states)
