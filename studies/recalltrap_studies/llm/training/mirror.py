"""A stage's checkpoints in the storage too, where that is no folder of the workers' machines.

A lost machine takes its temporary folder with it, and a group of several has each a part of a
checkpoint alone. So every machine copies what its workers wrote to the storage, and whoever goes on
takes the newest checkpoint from there: it alone is the same for all machines.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import fs
from transformers import TrainerCallback, TrainerControl, TrainerState

from recalltrap.errors import InputError
from recalltrap.graph import Node
from recalltrap.run.worker_group import WorkerGroup
from recalltrap.store.patience import patiently
from recalltrap.store.storage import Storage
from recalltrap.store.store import ArtifactStore
from recalltrap_studies.llm.training.checkpoints import CANDIDATES, NAME

log = logging.getLogger("recalltrap")

WHOLE = "whole.json"
"""Written last: the files of a checkpoint that every machine has copied, and the candidates."""
HERE = fs.LocalFileSystem()
Sizes = dict[str, int]
"""Bytes of the files below a folder, by their relative names with slashes."""


@dataclass
class Mirror(TrainerCallback):
    """Keeps and fetches the checkpoints of one training; every worker calls its methods."""

    storage: Storage
    place: str
    """Where in the storage: `scratch/<node.id>/<layout>`."""
    scratch: Path
    """Where on this machine."""
    group: WorkerGroup
    stored: Sizes = field(default_factory=dict)
    """What the storage has of the candidates, as rank 0 knows."""

    def __post_init__(self) -> None:
        self.first_here = self.group.sharing(self.scratch)[0] == self.group.rank

    def fetch(self) -> None:
        """Bring the newest checkpoint, if there is one, to every machine, and remove all others."""
        name, newest = self.group.broadcast(self._newest() if self.group.leads else None)
        if self.first_here:
            for folder in _checkpoints(self.scratch):
                if folder.name != name or _sizes(folder) != newest["files"]:
                    shutil.rmtree(folder)
            self._bring(name, newest["files"])
        if self.group.leads:
            shutil.rmtree(self.scratch / CANDIDATES, ignore_errors=True)
            self.stored = newest["candidates"]
            self._bring(CANDIDATES, self.stored)
        self.group.gather(None)

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Copy the checkpoint that was just saved. A training doesn't end because that failed."""
        name = f"checkpoint-{state.global_step}"
        self.group.gather(None)  # all of a machine's workers have written their part
        parts = self.group.gather(self._copy_own(name) if self.first_here else {})
        if not self.group.leads or None in parts:
            return
        files = {file: size for part in parts for file, size in part.items()}
        whole = json.dumps({"files": files, "candidates": self.stored})
        try:
            self.storage.write(f"{self.place}/{name}/{WHOLE}", whole.encode())
            for other in self.storage.list(self.place):
                if NAME.fullmatch(other) and other != name:
                    self._delete(f"{self.place}/{other}")
        except (OSError, InputError) as error:
            log.warning("checkpoints before %s may stay in the storage: %s", name, error)

    def clear(self) -> None:
        """Remove what the storage holds of the stage, once its artifact stands."""
        with contextlib.suppress(OSError):
            self._delete(self.place.rpartition("/")[0])

    def _copy_own(self, name: str) -> Sizes | None:
        """This machine's files, which the storage has now; None where it couldn't take them."""
        files = _sizes(self.scratch / name)
        try:
            self._send(name, files)
            if self.group.leads:
                candidates = _sizes(self.scratch / CANDIDATES)
                self._send(CANDIDATES, {file for file in candidates if file not in self.stored})
                self.stored = candidates
        except OSError as error:
            log.warning("%s can't be copied to the storage: %s", name, error)
            return None
        return files

    def _newest(self) -> tuple[str, dict[str, Sizes]]:
        """The newest checkpoint that every machine has copied, with the sizes of its files."""
        names = [name for name in self.storage.list(self.place) if NAME.fullmatch(name)]
        for name in sorted(names, key=lambda name: int(name.partition("-")[2]), reverse=True):
            with contextlib.suppress(FileNotFoundError, ValueError):
                return name, json.loads(self.storage.read(f"{self.place}/{name}/{WHOLE}"))
        return "", {"files": {}, "candidates": {}}

    def _send(self, name: str, files: Iterable[str]) -> None:
        there = self.storage.filesystem
        for file in files:
            target = self.storage.path(f"{self.place}/{name}/{file}")
            there.create_dir(target.rpartition("/")[0])
            _copy(str(self.scratch / name / file), HERE, target, there)

    def _bring(self, name: str, files: Iterable[str]) -> None:
        """Copy a folder from the storage where it isn't here yet; whole or not at all."""
        target, arriving = self.scratch / name, self.scratch / f".{name}.arriving"
        if not files or target.is_dir():
            return
        shutil.rmtree(arriving, ignore_errors=True)
        for file in files:
            (arriving / file).parent.mkdir(parents=True, exist_ok=True)
            source = self.storage.path(f"{self.place}/{name}/{file}")
            _copy(source, self.storage.filesystem, str(arriving / file), HERE)
        arriving.rename(target)

    def _delete(self, relative: str) -> None:
        self.storage.filesystem.delete_dir(self.storage.path(relative))


def mirror_of(store: ArtifactStore, node: Node, scratch: Path, group: WorkerGroup) -> Mirror | None:
    """The mirror of a stage's `scratch`; None where that lies in the storage already."""
    if store.storage.is_local:
        return None
    return Mirror(store.storage, f"scratch/{node.id}/{scratch.name}", scratch, group)


def _copy(source: str, of: fs.FileSystem, target: str, to: fs.FileSystem) -> None:
    patiently(
        lambda: fs.copy_files(source, target, source_filesystem=of, destination_filesystem=to)
    )


def _checkpoints(scratch: Path) -> list[Path]:
    folders = scratch.iterdir() if scratch.is_dir() else ()
    return [folder for folder in folders if NAME.fullmatch(folder.name)]


def _sizes(folder: Path) -> Sizes:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
