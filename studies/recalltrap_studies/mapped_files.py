"""Arrays in files that the workers of a machine write together, and then map instead of reading.

A map takes no memory of the process: its pages are the system's cache of the file, which all
workers share and which is given up first. What the arrays mean is decided elsewhere.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recalltrap.errors import InputError
from recalltrap.run.worker_group import WorkerGroup


@dataclass(frozen=True)
class Place:
    """A folder of one machine, and this process's rank among the `size` that share it."""

    folder: Path
    rank: int
    size: int


@contextmanager
def shared_folder(parent: Path, group: WorkerGroup) -> Iterator[Place]:
    """A new folder below `parent` for the workers of each machine; every worker enters it.

    It is gone when the context ends, which no worker leaves before the others: files that were
    mapped stay readable and free their space with the last map. Each machine has its own, since
    another's system may take a removed file away.
    """
    names, here = group.gather(uuid.uuid4().hex), group.sharing(parent)
    place = Place(parent / names[here[0]], here.index(group.rank), len(here))
    try:
        yield place
        group.gather(None)
    finally:
        if place.rank == 0:
            shutil.rmtree(place.folder, ignore_errors=True)


@dataclass(frozen=True)
class MappedFile:
    """An array of `count` numbers in a file: created by one worker, written in parts by all."""

    path: Path
    kind: np.dtype[Any]
    count: int

    def create(self) -> None:
        """Take the space that it will need, which may not be there.

        Raises:
            InputError: the file can't be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "wb") as file:
                file.truncate(self.count * self.kind.itemsize)
        except OSError as error:
            raise self._unwritten(error) from None

    def write(self, start: int, values: npt.NDArray[Any]) -> None:
        """Write some of its numbers, from `start` on.

        Raises:
            InputError: the file can't be written.
        """
        assert start + len(values) <= self.count, f"{self.path.name} holds {self.count}"
        try:
            with open(self.path, "r+b") as file:
                file.seek(start * self.kind.itemsize)
                file.write(np.ascontiguousarray(values, self.kind).data)
        except OSError as error:
            raise self._unwritten(error) from None

    def mapped(self) -> npt.NDArray[Any]:
        """The array, which can't be changed."""
        if not self.count:  # nothing can be mapped of an empty file
            return np.empty(0, self.kind)
        return np.asarray(np.memmap(self.path, self.kind, "r", shape=(self.count,)))

    def _unwritten(self, error: OSError) -> InputError:
        return InputError(
            f"{self.path} can't be written ({error.strerror or error}): a training needs "
            f"{self.count * self.kind.itemsize / 1e9:.1f} GB there for the samples that it learns"
        )
